"""R07: every boundary fires exactly at the written rule, for every price and amount from 0.01 to 2,000.00 in cents.

The rules in whole cents, so in exact numbers: a stop at 100 * price <= 95 * entry, a take-profit at 100 * price >= 110 *
entry, a fall by p % at 100 * equity <= (100 - p) * base. Each amount is tried at the boundary and one cent beyond."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import njit

from app.domain.reason import Reason
from app.domain.trading_state import Cause
from app.engine.rules import Holdings, Market, Money, Sleeves, Venue, apply_rules, rules_row
from app.risk.breakers import ACTIVE, FLATTENING, HALTED, REDUCING, Reading, Standing, next_standing
from app.risk.limits import Policy, RiskLimits

LIMITS = RiskLimits()
CENTS = np.arange(1, 200_001)


def judged(entry_cents: np.ndarray, price_cents: np.ndarray) -> np.ndarray:
    """The reason for each holding, all of them in one decision."""
    n = len(entry_cents)
    full = {name: np.full(n, np.nan) for name in Market._fields}
    full |= {"price": price_cents / 100, "age_seconds": np.zeros(n), "tradable": np.ones(n), "step": np.ones(n)}
    books = {name: np.zeros(n) for name in Holdings._fields} | {"quantity": np.ones(n), "entry": entry_cents / 100}
    standing = Standing(ACTIVE, int(Cause.STARTED), math.nan, math.nan, 1.0)
    money = Money(cash=0.0, equity=math.nan, baseline=1.0, buying_power=0.0)
    outcome = apply_rules(0.0, standing, Market(**full), Holdings(**books), money, Venue(0, 0), LIMITS, alone(n))
    return outcome.reason


def alone(n: int) -> Sleeves:
    """One sleeve that says nothing."""
    return Sleeves(np.array([rules_row(Policy(), 1.0)]), np.full((1, n), np.nan), np.full((1, n), np.nan))


@pytest.mark.row("I08")
def test_stop_loss() -> None:
    at = CENTS * 95 // 100
    held = at >= 1  # the stop of one cent lies below the smallest price
    assert (judged(CENTS[held], at[held]) == Reason.STOP_LOSS).all()
    assert (judged(CENTS, at + 1) != Reason.STOP_LOSS).all()


@pytest.mark.row("I08")
def test_take_profit() -> None:
    at = -(-CENTS * 110 // 100)
    assert (judged(CENTS, at) == Reason.TAKE_PROFIT).all()
    below = at - 1 >= 1
    assert (judged(CENTS[below], at[below] - 1) != Reason.TAKE_PROFIT).all()


@njit
def _standings(equity, base, daily, suspected):  # type: ignore[no-untyped-def]
    """(state, whether a hard loss is suspected) after one reading each; daily: `base` is the baseline, else the peak."""
    n = len(base)
    states, suspects = np.empty(n, np.int64), np.empty(n, np.bool_)
    for i in range(n):
        own, of = equity[i] / 100.0, base[i] / 100.0
        standing = Standing(ACTIVE, 1, np.nan, suspected, own if daily else of, 3, np.nan)
        reading = Reading(100.0, own, own, of if daily else own, False, True, 0, 0, 0)
        after = next_standing(standing, reading, LIMITS)
        states[i], suspects[i] = after.state, not np.isnan(after.suspected_at)
    return states, suspects


@pytest.mark.row("I08")
@pytest.mark.parametrize("beyond", [0, 1])
def test_losses_and_drawdown(beyond: int) -> None:
    fires = beyond == 0
    for percent, state, daily, suspected in (
        (2, REDUCING, True, math.nan),
        (3, FLATTENING, True, 0.0),
        (20, HALTED, False, math.nan),
    ):
        at = CENTS * (100 - percent) // 100 + beyond
        sound = at >= 1
        states, _ = _standings(at[sound], CENTS[sound], daily, suspected)
        assert ((states == state) == fires).all(), percent
    at = CENTS * 97 // 100 + beyond
    _, suspects = _standings(at[at >= 1], CENTS[at >= 1], True, math.nan)
    assert (suspects == fires).all()
