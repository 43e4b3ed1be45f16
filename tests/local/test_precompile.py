"""What the image compiles ahead is what a cycle runs."""

from __future__ import annotations

from app.local import precompile


def test_a_model_is_trained_and_a_decision_made_on_the_way() -> None:
    assert precompile.precompile() == len(precompile.SYMBOLS)
