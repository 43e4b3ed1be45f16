"""The trading state machine under random readings: caution never falls without its cause."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.trading_state import STEADY, Cause, Doubt, VenueHealth
from app.risk.breakers import ACTIVE, FLATTENING, HALTED, REDUCING, Reading, Standing, jump_of, next_standing
from app.risk.health import lasting_trouble, venue_trouble
from app.risk.limits import RiskLimits

LIMITS = RiskLimits()
NUMBERS = st.floats(60_000, 120_000) | st.sampled_from([0.0, -1.0, math.nan, math.inf, -math.inf])
SOFT = (Cause.CONNECTIVITY, Cause.VENUE_ERRORS, Cause.STALE_DATA, Cause.EXTREME_VOLATILITY)


def step(now: float, standing: Standing, equity: float, marked: float | None = None, **changes: object) -> Standing:
    values = {"marked": equity if marked is None else marked, "baseline": 1e5, "flat": False, "is_open": True} | changes
    return Standing(*next_standing(standing, Reading(now=now, equity=equity, **values), LIMITS))  # type: ignore[arg-type]


def fresh(state: int = ACTIVE, cause: Cause = Cause.STARTED, **changes: object) -> Standing:
    return Standing(state, int(cause), math.nan, math.nan, 1e5)._replace(**changes)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(1, 7200), NUMBERS, st.floats(0.97, 1.03), st.booleans(), st.booleans(), st.sampled_from([0, 0, 0, 3, 4])
        ),
        min_size=1,
        max_size=40,
    )
)
def test_every_step_is_one_that_is_allowed(readings: list[tuple[float, float, float, bool, bool, int]]) -> None:
    now, standing = 0.0, fresh()
    for seconds, equity, ratio, flat, is_open, jump in readings:
        now += seconds
        marked = equity * ratio
        sound = 0 < equity < math.inf and abs(equity - marked) <= 0.01 * marked
        following = step(now, standing, equity, marked, flat=flat, is_open=is_open, jump=jump)
        believed = sound and (jump == 0 or (jump == Doubt.PRICE_JUMP and following.steady == STEADY))
        if not believed:
            assert following.state == (REDUCING if standing.state == ACTIVE else standing.state)
            assert (following.high_water, following.until) == (standing.high_water, pytest.approx(standing.until, nan_ok=True))
        if believed and not is_open:
            assert (following.state, following.cause, following.high_water) == (
                standing.state,
                standing.cause,
                standing.high_water,
            )
        if following.state == FLATTENING and standing.state != FLATTENING:
            assert believed and is_open and not flat and equity <= 97_000 * (1 + 1e-9)
            assert now - standing.suspected_at >= LIMITS.corroboration_seconds
        if standing.state == HALTED:
            assert following.state == HALTED
        if standing.state == FLATTENING:
            assert following.state == (HALTED if believed and is_open and flat else FLATTENING)
        if standing.state == REDUCING and following.state == ACTIVE:
            timed = standing.cause == Cause.DAILY_LOSS and now >= standing.until
            assert following.steady == STEADY and (timed or standing.cause == Cause.EQUITY_UNRELIABLE)
        assert following.high_water >= standing.high_water
        standing = following


@settings(deadline=None)
@given(st.floats(97_000.1, 98_000))
def test_the_daily_halt_is_not_prolonged_by_further_loss(equity: float) -> None:
    first = step(1000.0, fresh(), equity)
    assert (first.state, first.cause, first.until) == (REDUCING, Cause.DAILY_LOSS, 1000.0 + 86_400.0)
    assert step(5000.0, first, equity - 50).until == first.until


def test_a_persons_halt_and_reduction_stay() -> None:
    for state in (REDUCING, HALTED):
        assert step(1e9, fresh(state, Cause.OPERATOR), 1e5).state == state


def test_a_doubted_reading_neither_corroborates_nor_forgets() -> None:
    first = step(0.0, fresh(), 96_000)
    assert first.suspected_at == 0.0
    assert step(59.9, first, 96_000).state != FLATTENING
    assert step(60.0, first, 96_000).state == FLATTENING
    doubted = step(70.0, first, 96_000, 99_000)
    assert (doubted.state, doubted.suspected_at) == (REDUCING, 0.0)
    assert step(140.0, doubted, 96_000).state == FLATTENING
    assert math.isnan(step(140.0, doubted, 98_500).suspected_at)


@pytest.mark.row("I11")
def test_one_liquidation_however_the_loss_oscillates() -> None:
    """I11: latched; only a person leaves it."""
    standing, states = fresh(), []
    for number in range(200):
        equity = 97_000.0 + (60.0 if number % 3 == 0 else -60.0)
        standing = step(600.0 * number, standing, equity, flat=number > 50)
        states.append(standing.state)
    assert states.count(FLATTENING) > 0 and states[-1] == HALTED
    assert sum(a != FLATTENING and b == FLATTENING for a, b in pairwise(states)) == 1


@pytest.mark.parametrize("cause", SOFT)
def test_a_breaker_opens_holds_and_closes_when_its_cause_is_gone(cause: Cause) -> None:
    bit = 1 << cause
    opened = step(0.0, fresh(), 1e5, tripped=bit, lasting=bit)
    assert (opened.state, opened.cause, opened.until) == (REDUCING, cause, 600.0)
    assert step(599.0, opened, 1e5).state == REDUCING
    assert step(600.0, opened, 1e5, lasting=bit).state == REDUCING
    closed = step(600.0, opened, 1e5)
    assert (closed.state, closed.cause) == (ACTIVE, Cause.BREAKER_CLOSED)
    other = next(c for c in SOFT if c is not cause)
    assert step(600.0, opened, 1e5, tripped=1 << other).cause == other


def test_the_daily_loss_takes_over_what_would_end_by_itself() -> None:
    for cause in (*SOFT, Cause.EQUITY_UNRELIABLE):
        lost = step(50.0, fresh(REDUCING, cause, until=40.0, steady=1), 98_000, tripped=1 << Cause.STALE_DATA)
        assert (lost.state, lost.cause, lost.until) == (REDUCING, Cause.DAILY_LOSS, 86_450.0)
    assert step(50.0, fresh(REDUCING, Cause.OPERATOR), 98_000).cause == Cause.OPERATOR


@pytest.mark.row("B19")
def test_after_a_doubt_three_believable_readings_are_needed() -> None:
    standing = step(0.0, fresh(), 0.0, 1e5)
    states = []
    for number in range(1, 5):
        standing = step(600.0 * number, standing, 1e5)
        states.append(standing.state)
    assert states == [REDUCING, REDUCING, ACTIVE, ACTIVE]


@pytest.mark.row("G04", "G07")
def test_a_price_jump_is_believed_once_three_readings_agree_and_a_split_never() -> None:
    standing, states = fresh(), []
    for number in range(6):
        standing = step(600.0 * number, standing, 96_000 - 10 * number, jump=Doubt.PRICE_JUMP)
        states.append(standing.state)
    assert states == [REDUCING, REDUCING, REDUCING, FLATTENING, FLATTENING, FLATTENING]
    standing = fresh()
    for number in range(50):
        standing = step(600.0 * number, standing, 50_000, jump=Doubt.LIKE_A_SPLIT)
    assert (standing.state, standing.high_water) == (REDUCING, 1e5)


@pytest.mark.row("G04")
def test_two_readings_of_a_spike_and_back_change_nothing() -> None:
    standing = fresh()
    for number, (equity, jump) in enumerate([(190_000, 3), (190_000, 3), *[(1e5, 0)] * 3]):
        standing = step(600.0 * number, standing, equity, jump=jump)
    assert (standing.state, standing.high_water) == (ACTIVE, 1e5)


@pytest.mark.parametrize(
    ("price", "doubt"),
    [
        (100.0, Doubt.NONE),
        (117.0, Doubt.NONE),  # ln 1.17 = 0.157, eight volatilities are 0.16
        (118.0, Doubt.PRICE_JUMP),
        (75.0, Doubt.PRICE_JUMP),
        (66.8, Doubt.LIKE_A_SPLIT),  # 3:2
        (50.0, Doubt.LIKE_A_SPLIT),
        (10.0, Doubt.LIKE_A_SPLIT),
        (800.0, Doubt.LIKE_A_SPLIT),  # 1:8
        (1.1, Doubt.LIKE_A_SPLIT),
        (math.nan, Doubt.NONE),  # no price at all is another rule's
    ],
)
def test_what_counts_as_a_jump(price: float, doubt: Doubt) -> None:
    assert jump_of(price, 100.0, 0.02, LIMITS) == doubt


def test_an_unknown_volatility_is_not_zero_and_a_still_price_may_move() -> None:
    assert jump_of(121.0, 100.0, math.nan, LIMITS) == Doubt.NONE
    assert jump_of(123.0, 100.0, math.nan, LIMITS) == Doubt.PRICE_JUMP
    assert jump_of(108.0, 100.0, 1e-9, LIMITS) == Doubt.NONE
    assert jump_of(70.0, 100.0, 0.5, LIMITS) == Doubt.PRICE_JUMP  # however wild the symbol is


@pytest.mark.row("B06", "I14")
@pytest.mark.parametrize(
    ("health", "trouble"),
    [
        (VenueHealth(calls=19, errors=19), set()),
        (VenueHealth(calls=20, errors=4), set()),
        (VenueHealth(calls=20, errors=5), {Cause.VENUE_ERRORS}),
        (VenueHealth(calls=1000, errors=201), {Cause.VENUE_ERRORS}),
        (VenueHealth(silent_seconds=60.0), set()),
        (VenueHealth(silent_seconds=60.1), {Cause.CONNECTIVITY}),
        (VenueHealth(silent_seconds=math.nan), {Cause.CONNECTIVITY}),
    ],
)
def test_trouble_with_the_venue(health: VenueHealth, trouble: set[Cause]) -> None:
    assert venue_trouble(health, LIMITS) == trouble
    assert lasting_trouble(health, LIMITS) == {Cause.VENUE_ERRORS, Cause.CONNECTIVITY}  # not one good probe yet
