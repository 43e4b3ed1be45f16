"""One decision: the readings, the standing, then screening, exits and entries in their order."""

from __future__ import annotations

from numba import njit

from app.domain.trading_state import STEADY, Doubt
from app.engine.rules.entries import enter, sizing_equity
from app.engine.rules.exits import leave
from app.engine.rules.measures import market_stress, read
from app.engine.rules.screen import candidates_of, hear, is_free
from app.engine.rules.values import (
    NOTHING,
    Heard,
    Holdings,
    Market,
    Measures,
    Money,
    Outcome,
    Sleeves,
    Venue,
    Work,
    room_for,
)
from app.risk.breakers import Standing, next_standing
from app.risk.limits import RiskLimits

_JUMP = int(Doubt.PRICE_JUMP)


@njit(cache=True)
def apply_rules(
    now: float,
    standing: Standing,
    market: Market,
    holdings: Holdings,
    money: Money,
    venue: Venue,
    limits: RiskLimits,
    sleeves: Sleeves,
) -> Outcome:
    """One decision over the universe. now: seconds since 1970 UTC."""
    work = room_for(len(market.price), len(sleeves.rules))
    active = 0
    for i in range(len(market.price)):
        if not is_free(i, holdings):
            work.active[active] = i
            active += 1
    stress = market_stress(market, limits)
    stressed = stress > limits.market_volatility_multiple
    following, measures, heard, _ = judge(
        work, active, now, standing, market, holdings, money, venue, limits, sleeves, stress, stressed
    )
    return Outcome(
        following, measures, heard, work.action, work.quantity, work.reason, work.bounds, work.bound, work.replaces,
        work.progress, work.levels,
    )  # fmt: skip


@njit(cache=True, inline="always")
def judge(
    work: Work,
    active: int,
    now: float,
    standing: Standing,
    market: Market,
    holdings: Holdings,
    money: Money,
    venue: Venue,
    limits: RiskLimits,
    sleeves: Sleeves,
    stress: float,
    stressed: bool,
) -> tuple[Standing, Measures, Heard, int]:
    """The decision itself, in arrays that may have served another one; the standing, what was read, whose word counted, and
    how many of `work.ranked` count: the symbols that passed every rule but those of money and slots, in their order.

    active: how many of `work.active` count. stress: see `market_stress`; stressed: whether it is above its limit."""
    measures, reading = read(work.active[:active], now, market, holdings, money, venue, limits, stress, stressed)
    standing = next_standing(standing, reading, limits)
    jump_believed = standing.steady >= STEADY and measures.jump == _JUMP
    work.action[:], work.quantity[:], work.bound[:], work.replaces[:] = NOTHING, 0.0, -1, -1
    heard = hear(work, active, market, holdings, sizing_equity(money, measures), limits, sleeves)
    candidates = candidates_of(work, standing.state, market, heard, holdings, limits, len(sleeves.rules))
    leaving = leave(work, active, standing.state, jump_believed, market, heard, holdings, limits, sleeves)
    enter(work, active, candidates, leaving, measures, market, heard, holdings, money, limits, sleeves)
    return standing, measures, heard, candidates
