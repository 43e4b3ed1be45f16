"""The trading state machine under random readings: caution never falls without its cause."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.trading_state import Cause
from app.risk.breakers import ACTIVE, FLATTENING, HALTED, REDUCING, Standing, next_standing
from app.risk.limits import RiskLimits

LIMITS = RiskLimits()
NUMBERS = st.floats(60_000, 120_000) | st.sampled_from([0.0, -1.0, math.nan, math.inf, -math.inf])


def step(now: float, standing: Standing, equity: float, marked: float, *, flat: bool = False, base: float = 1e5) -> Standing:
    return Standing(*next_standing(now, standing, equity, marked, base, flat, LIMITS))


def fresh(state: int = ACTIVE, cause: Cause = Cause.STARTED) -> Standing:
    return Standing(state, int(cause), math.nan, math.nan, 1e5)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(1, 7200), NUMBERS, st.floats(0.97, 1.03), st.booleans()), min_size=1, max_size=40))
def test_every_step_is_one_that_is_allowed(readings: list[tuple[float, float, float, bool]]) -> None:
    now, standing = 0.0, fresh()
    for seconds, equity, ratio, flat in readings:
        now += seconds
        marked = equity * ratio
        reliable = 0 < equity < math.inf and abs(equity - marked) <= 0.01 * marked
        following = step(now, standing, equity, marked, flat=flat)
        if not reliable:
            assert following.state == (REDUCING if standing.state == ACTIVE else standing.state)
            assert following.high_water == standing.high_water
        if following.state == FLATTENING and standing.state != FLATTENING:
            assert reliable and not flat and equity <= 97_000 * (1 + 1e-9)
            assert now - standing.suspected_at >= LIMITS.corroboration_seconds
        if standing.state == HALTED:
            assert following.state == HALTED
        if standing.state == FLATTENING:
            assert following.state == (HALTED if reliable and flat else FLATTENING)
        if standing.state == REDUCING and following.state == ACTIVE:
            timed = standing.cause == Cause.DAILY_LOSS and now >= standing.until
            assert timed or standing.cause == Cause.EQUITY_UNRELIABLE
        assert following.high_water >= standing.high_water
        standing = following


@settings(deadline=None)
@given(st.floats(97_000.1, 98_000))
def test_the_daily_halt_is_not_prolonged_by_further_loss(equity: float) -> None:
    first = step(1000.0, fresh(), equity, equity)
    assert (first.state, first.cause, first.until) == (REDUCING, Cause.DAILY_LOSS, 1000.0 + 86_400.0)
    assert step(5000.0, first, equity - 50, equity - 50).until == first.until


def test_a_persons_halt_and_reduction_stay() -> None:
    for state in (REDUCING, HALTED):
        assert step(1e9, fresh(state, Cause.OPERATOR), 1e5, 1e5).state == state


def test_disagreeing_readings_do_not_corroborate() -> None:
    first = step(0.0, fresh(), 96_000, 96_000)
    assert first.suspected_at == 0.0
    doubted = step(70.0, first, 96_000, 99_000)
    assert doubted.state == REDUCING and math.isnan(doubted.suspected_at)
    assert step(140.0, doubted, 96_000, 96_000).state != FLATTENING
