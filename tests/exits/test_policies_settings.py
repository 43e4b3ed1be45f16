"""Where an exit policy comes from: the settings, and a backtest that tries another."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.config import Settings
from app.domain.errors import InvalidInput
from app.domain.exits import ExitPolicy
from app.services.backtests.request import parse_request


def settings(**values: object) -> Settings:
    return Settings(_env_file=None, **values)  # type: ignore[call-arg, arg-type]


def test_by_default_stop_and_target_alone() -> None:
    assert settings().policy.exits == ExitPolicy()


def test_every_setting_reaches_the_policy() -> None:
    chosen = settings(
        risk_stop_loss_pct=-0.04,
        risk_take_profit_pct=0.2,
        exit_atr_stop_multiple=3,
        exit_break_even_at_r=1,
        exit_partial_at_r=1.5,
        exit_partial_fraction=0.5,
        exit_trailing_fraction=0.03,
        exit_trailing_atr_multiple=2.5,
    )
    assert chosen.policy.exits == ExitPolicy(0.04, 0.2, 3, 1, 1.5, 0.5, 0.03, 2.5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"exit_partial_at_r": 1},
        {"exit_partial_fraction": 0.5},
        {"exit_partial_at_r": 1, "exit_partial_fraction": 1},
        {"exit_trailing_fraction": -0.1},
        {"exit_break_even_at_r": float("nan")},
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        settings(**wrong)


def test_a_backtest_takes_the_fields_it_names() -> None:
    exits = parse_request({"exits": {"break_even_at_r": 1, "trailing_fraction": 0.03}}).exits
    assert exits.model_dump(exclude_none=True) == {"break_even_at_r": 1.0, "trailing_fraction": 0.03}


@pytest.mark.parametrize(
    "wrong", [{"stop": 0.1}, {"stop_loss_fraction": 0}, {"trailing_fraction": "0.1"}, {"partial_at_r": -1}]
)
def test_a_backtest_refuses_what_is_no_policy(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="exits"):
        parse_request({"exits": wrong})
