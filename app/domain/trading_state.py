"""Whether the system may take on risk. Ordered by caution: of two readings the greater wins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import IntEnum


class TradingState(IntEnum):
    """ACTIVE trades. REDUCING only sheds risk. HALTED decides nothing new; what protects holdings goes on. FLATTENING sells
    everything, then halts."""

    ACTIVE = 0
    REDUCING = 1
    HALTED = 2
    FLATTENING = 3


class Cause(IntEnum):
    """Why the trading state is what it is."""

    NONE = 0
    STARTED = 1
    DAILY_LOSS = 2
    HARD_DAILY_LOSS = 3
    DRAWDOWN = 4
    EQUITY_UNRELIABLE = 5
    HALT_ENDED = 6
    READING_RECOVERED = 7
    OPERATOR = 8
    CONNECTIVITY = 9
    VENUE_ERRORS = 10
    STALE_DATA = 11
    EXTREME_VOLATILITY = 12
    BREAKER_CLOSED = 13
    KILLED = 14
    BOOKS_LOST = 15
    STATE_LOST = 16
    BOOKS_DIFFER = 17
    CLOCK_SKEW = 18
    UNAUTHORIZED = 19

    @property
    def code(self) -> str:
        """The word stored and shown."""
        return self.name.lower()


class Doubt(IntEnum):
    """Why a reading of the account is not believed."""

    NONE = 0
    NO_EQUITY = 1
    DISAGREEMENT = 2
    PRICE_JUMP = 3
    LIKE_A_SPLIT = 4

    @property
    def text(self) -> str:
        """What is wrong, for a person."""
        return _DOUBTS[self]


_DOUBTS = {
    Doubt.NONE: "the reading is believed",
    Doubt.NO_EQUITY: "the equity or its baseline is unknown or not above zero",
    Doubt.DISAGREEMENT: "the venue's equity and our holdings at fresh prices disagree, or a holding has no fresh price",
    Doubt.PRICE_JUMP: "the price of a holding jumped beyond its volatility",
    Doubt.LIKE_A_SPLIT: "the price of a holding moved as if it had been split",
}

STEADY = 3  # believable readings in a row after which a doubt is over


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueHealth:
    """Calls to the venue in the last five minutes. errors: those that failed by the venue or the line; refusals are answers.
    good_in_a_row: calls since the last failure. silent_seconds: how long no call has been answered, 0 while they are.
    clock_skew_seconds: how far the venue's clock and ours are apart at least, 0 where that means nothing."""

    calls: int = 0
    errors: int = 0
    good_in_a_row: int = 0
    silent_seconds: float = 0.0
    clock_skew_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskState:
    """The persisted state of the risk machine; money in account currency, instants aware UTC.

    cause: machine-readable word. actor: `system` or a user name. until: end of a timed halt by venue time.
    baseline_equity: equity the daily loss is measured against, taken once for `baseline_session` (ISO date).
    high_water_equity: highest equity ever recorded. suspected_at: first reading of a loss that would flatten,
    waiting for a second one. epoch: grows with every change; the mirror file carries it.
    steady_readings: believable readings in a row, at most STEADY. doubted_equity: the value of a book with a price jump that
    waits to be believed. disabled_symbols: entered too often in one day; no entries until a person enables them.
    """

    trading_state: TradingState
    cause: str
    actor: str
    since: datetime
    until: datetime | None = None
    baseline_equity: Decimal
    baseline_session: str
    high_water_equity: Decimal
    suspected_at: datetime | None = None
    epoch: int = 0
    steady_readings: int = STEADY
    doubted_equity: Decimal | None = None
    disabled_symbols: tuple[str, ...] = ()


def more_cautious(one: RiskState, other: RiskState) -> RiskState:
    """The stricter of two records of the same machine with every halt, peak and baseline that either remembers; its epoch
    follows both. Equal ones give `one`."""
    first, second = (one, other) if _strictness(one) >= _strictness(other) else (other, one)
    if one.baseline_session == other.baseline_session:
        baseline = max(one.baseline_equity, other.baseline_equity)
    else:
        baseline = max(one, other, key=lambda state: state.baseline_session).baseline_equity
    merged = replace(
        first,
        baseline_equity=baseline,
        baseline_session=max(one.baseline_session, other.baseline_session),
        high_water_equity=max(one.high_water_equity, other.high_water_equity),
        suspected_at=first.suspected_at or second.suspected_at,
        steady_readings=min(one.steady_readings, other.steady_readings),
        disabled_symbols=tuple(sorted({*one.disabled_symbols, *other.disabled_symbols})),
    )
    return one if merged == one else replace(merged, epoch=max(one.epoch, other.epoch) + 1)


def _strictness(state: RiskState) -> tuple[int, int, float]:
    """Of two reductions a person's outlasts a timed one, and that one the breakers that close by themselves."""
    rank = {Cause.OPERATOR.code: 2, Cause.DAILY_LOSS.code: 1}.get(state.cause, 0)
    return int(state.trading_state), rank, state.until.timestamp() if state.until else 0.0
