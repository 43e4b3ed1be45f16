"""What a decision reads and answers, as the compiled rules take it: named tuples of arrays and plain numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from app.domain.bar import Floats
from app.domain.exits import ExitPolicy
from app.domain.reason import Reason
from app.risk.breakers import Standing
from app.risk.limits import Policy
from app.risk.sizing import BOUNDS

Integers = npt.NDArray[np.int64]

NOTHING, BUY, SELL = 0, 1, 2
BUDGET = len(Policy._fields) - 1 + len(ExitPolicy._fields)  # column of `Sleeves.rules`

(
    BUY_SIGNAL, SELL_SIGNAL, STOP, TAKE, REBALANCE, FLATTEN, PARTIAL,
    BELOW, LOW_CONFIDENCE, HOLD, NO_SHORT, ORDER_PENDING, EXIT_PENDING, AWAITING,
    NO_PRICE, STALE, NOT_TRADABLE, NO_FORECAST, NO_VOLATILITY,
    IS_REDUCING, IS_HALTED, NO_SLOT, EXPOSURE, BUYING_POWER, BELOW_STEP, TRADED, ENTRIES,
    DISABLED, EXTREME, DOUBTED, OVER_BUDGET,
) = (
    int(r) for r in Reason if r not in {Reason.EXACT_CHECK, Reason.OTHER_SLEEVE}
)  # fmt: skip


class Market(NamedTuple):
    """The market side of a decision; arrays of shape (n_symbols,), NaN where unknown."""

    price: Floats
    age_seconds: Floats
    volatility: Floats
    tradable: Floats
    step: Floats
    minimum_notional: Floats
    last_close: Floats
    usual_volatility: Floats
    atr: Floats


class Sleeves(NamedTuple):
    """The strategies that share the account, in the order in which they are asked.

    rules: shape (n_sleeves, BUDGET + 1), a row of numbers for each, see `rules_row`. expected_return, confidence: what each
    says, shape (n_sleeves, n_symbols), NaN where it says nothing.
    """

    rules: Floats
    expected_return: Floats
    confidence: Floats


class Heard(NamedTuple):
    """What counts of the sleeves' answers: for a symbol held or being bought its owner's, for a free one that of the first
    sleeve that may buy it. Arrays of shape (n_symbols,); sleeve: who that is."""

    sleeve: Integers
    expected_return: Floats
    confidence: Floats


class Holdings(NamedTuple):
    """The book side of a decision; arrays of shape (n_symbols,).

    quantity: units held. entry: average entry price. pending_buy: units in open entries; pending_price: the most they may
    pay. pending_exit: 1.0 where an exit is on its way. entries_today, exits_today: counts. disabled: 1.0 where a person
    has to allow entries again. initial_stop, best, stop, partial_taken: the `Progress` of each. sleeve: number of the sleeve
    that holds or buys it.
    """

    quantity: Floats
    entry: Floats
    pending_buy: Floats
    pending_price: Floats
    pending_exit: Floats
    entries_today: Floats
    exits_today: Floats
    disabled: Floats
    initial_stop: Floats
    best: Floats
    stop: Floats
    partial_taken: Floats
    sleeve: Floats


class Money(NamedTuple):
    """The account as numbers, in its currency."""

    cash: float
    equity: float
    baseline: float
    buying_power: float


class Venue(NamedTuple):
    """The breakers on the connection: bit n set where that of cause n would open, or would not close."""

    tripped: int
    lasting: int


class Measures(NamedTuple):
    """What the breakers read. marked: equity at our own marks, NaN while a holding has no fresh price. gross: value of
    holdings and open buys at worst prices. taken: slots. stale_fraction: share of the symbols without a fresh price.
    stress: median of volatility over usual volatility, NaN with too few known. jump: worst `Doubt` about a holding's price.
    doubt: `Doubt` about the whole reading."""

    marked: float
    gross: float
    taken: int
    flat: bool
    is_open: bool
    stale_fraction: float
    stress: float
    jump: int
    doubt: int


class Outcome(NamedTuple):
    """What the rules answered: arrays of shape (n_symbols,), `bounds` of shape (n_symbols, 6) in units (NaN if unsized).

    progress: of shape (n_symbols, 4), the `Progress` of each holding from now on. levels: of shape (n_symbols, 3), `Levels`.
    """

    standing: Standing
    measures: Measures
    heard: Heard
    action: Integers
    quantity: Floats
    reason: Integers
    bounds: Floats
    bound: Integers
    replaces: Integers
    progress: Floats
    levels: Floats


class Work(NamedTuple):
    """Where a decision writes: the arrays of `Outcome`, and lists of symbols. A row of `bounds` counts where `bound` is not
    negative, rows of `progress` and `levels` where something is held; the rest is left as it was.

    active: the symbols held or being bought, in their order; the caller says how many. ranked: of length n_symbols. said:
    the reasons of one sleeve. room: what each sleeve's budget leaves, shape (n_sleeves,), infinite for the whole account;
    left: the same before this decision's entries.
    """

    action: Integers
    quantity: Floats
    reason: Integers
    bounds: Floats
    bound: Integers
    replaces: Integers
    progress: Floats
    levels: Floats
    active: Integers
    ranked: Integers
    said: Integers
    room: Floats
    left: Floats
    heard: Heard


@njit(cache=True)
def room_for(n: int, sleeves: int) -> Work:
    """Arrays for a decision over n symbols."""
    return Work(
        np.zeros(n, np.int64),
        np.zeros(n),
        np.zeros(n, np.int64),
        np.full((n, len(BOUNDS)), np.nan),
        np.full(n, -1, np.int64),
        np.full(n, -1, np.int64),
        np.zeros((n, 4)),
        np.full((n, 3), np.nan),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.full(sleeves, np.inf),
        np.full(sleeves, np.inf),
        Heard(np.zeros(n, np.int64), np.zeros(n), np.zeros(n)),
    )


def rules_row(policy: Policy, budget_fraction: float) -> list[float]:
    """A sleeve as a row of `Sleeves.rules`: its policy, the exits in force, its share of the equity."""
    return [float(number) for number in (*policy[:-1], *policy.exits, budget_fraction)]


@njit(cache=True, inline="always")
def policy_of(rules: Floats, k: int) -> Policy:
    """The policy of sleeve `k`: the opposite of `rules_row`."""
    row = rules[k]
    exits = ExitPolicy(row[5], row[6], row[7], row[8], row[9], row[10], row[11], row[12])
    return Policy(row[0], row[1], row[2], row[3], row[4], exits)
