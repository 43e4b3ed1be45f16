"""Exit policies: where each puts the stop and the targets, and that a stop never moves away."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.risk.exits import (
    FRESH,
    NOT_DUE,
    PARTIAL_DUE,
    STOP_DUE,
    TARGET_DUE,
    ExitPolicy,
    Levels,
    Progress,
    due,
    follow,
    levels,
    rebased,
)

NAN = math.nan
OFF = ExitPolicy(stop_loss_fraction=0.05, take_profit_fraction=0.10)


def after(policy: ExitPolicy, *prices: float, entry: float = 100.0, atr: float = 1.0) -> Progress:
    """The memory after these prices."""
    progress = FRESH
    for price in prices:
        progress = follow(entry, progress, price, atr, policy)
    return progress


@pytest.mark.parametrize(
    ("policy", "prices", "stop", "partial"),
    [
        (OFF, (100, 109, 96), 95.0, NAN),
        (OFF._replace(atr_stop_multiple=3.0), (100, 109), 97.0, NAN),
        (OFF._replace(atr_stop_multiple=7.0), (100,), 95.0, NAN),
        (OFF._replace(break_even_at_r=1.0), (100, 104.99), 95.0, NAN),
        (OFF._replace(break_even_at_r=1.0), (100, 105, 101), 100.0, NAN),
        (OFF._replace(break_even_at_r=1.0, atr_stop_multiple=2.0), (100, 102), 100.0, NAN),
        (OFF._replace(trailing_fraction=0.04), (100,), 96.0, NAN),
        (OFF._replace(trailing_fraction=0.04), (100, 108, 105), 103.68, NAN),
        (OFF._replace(trailing_fraction=0.08), (100,), 95.0, NAN),
        (OFF._replace(trailing_atr_multiple=2.0), (100, 104, 103), 102.0, NAN),
        (OFF._replace(partial_at_r=1.5, partial_fraction=0.5), (100,), 95.0, 107.5),
        (OFF._replace(partial_at_r=1.5), (100,), 95.0, NAN),
    ],
)
def test_where_the_stop_is(policy: ExitPolicy, prices: tuple[float, ...], stop: float, partial: float) -> None:
    at = levels(100.0, after(policy, *prices), policy)
    assert at.stop == pytest.approx(stop, abs=1e-9)
    assert at.target == pytest.approx(110.0)
    assert at.partial == pytest.approx(partial, nan_ok=True)


@pytest.mark.parametrize(
    ("price", "expected"),
    [(95.0, STOP_DUE), (95.01, NOT_DUE), (110.0, TARGET_DUE), (106.0, PARTIAL_DUE), (105.99, NOT_DUE), (0.0, NOT_DUE),
     (-1.0, NOT_DUE), (NAN, NOT_DUE), (math.inf, NOT_DUE)],
)  # fmt: skip
def test_what_a_price_asks_for(price: float, expected: int) -> None:
    assert due(price, Levels(95.0, 110.0, 106.0)) == expected


def test_levels_without_an_entry_or_a_rule_are_never_due() -> None:
    for entry in (NAN, 0.0, -1.0, math.inf):
        assert all(math.isnan(level) for level in levels(entry, FRESH, OFF))
    for price in (0.01, 95.0, 110.0, 2_000.0):
        assert due(price, Levels(NAN, NAN, NAN)) == NOT_DUE


POLICIES = st.builds(
    ExitPolicy,
    stop_loss_fraction=st.sampled_from([0.0, 0.02, 0.05]),
    take_profit_fraction=st.sampled_from([0.0, 0.10]),
    atr_stop_multiple=st.sampled_from([0.0, 1.0, 3.0]),
    break_even_at_r=st.sampled_from([0.0, 0.5, 1.0]),
    partial_at_r=st.sampled_from([0.0, 1.0]),
    partial_fraction=st.sampled_from([0.0, 0.5]),
    trailing_fraction=st.sampled_from([0.0, 0.03]),
    trailing_atr_multiple=st.sampled_from([0.0, 2.0]),
)
PRICES = st.one_of(st.floats(0.01, 2_000.0), st.sampled_from([NAN, 0.0, -5.0, math.inf]))


@given(
    entry=st.floats(0.01, 2_000.0),
    policy=POLICIES,
    readings=st.lists(st.tuples(PRICES, st.one_of(st.floats(0.001, 50.0), st.sampled_from([NAN, 0.0, -1.0]))), max_size=20),
)
def test_a_stop_never_moves_away(entry: float, policy: ExitPolicy, readings: list[tuple[float, float]]) -> None:
    progress, before = FRESH, 0.0
    for price, atr in readings:
        progress = follow(entry, progress, price, atr, policy)
        stop = levels(entry, progress, policy).stop
        if before:
            assert stop >= before
        if not math.isnan(stop):
            assert stop >= entry * (1.0 - policy.stop_loss_fraction) or not policy.stop_loss_fraction
            before = stop


@given(
    progress=st.builds(Progress, st.floats(1, 100), st.floats(1, 100), st.floats(1, 100)), ratio=st.sampled_from([0.5, 2, 4])
)
def test_a_split_moves_every_level_alike(progress: Progress, ratio: float) -> None:
    policy = OFF._replace(atr_stop_multiple=2.0, trailing_fraction=0.04, break_even_at_r=1.0)
    old = levels(120.0, progress, policy)
    new = levels(120.0 / ratio, rebased(progress, ratio), policy)
    assert [level * ratio for level in new] == pytest.approx(list(old), nan_ok=True)
