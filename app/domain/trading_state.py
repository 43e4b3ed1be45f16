"""Whether the system may take on risk. Ordered by caution: of two readings the greater wins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import IntEnum


class TradingState(IntEnum):
    """ACTIVE trades. REDUCING only sheds risk. HALTED sends nothing new. FLATTENING sells everything, then halts."""

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

    @property
    def code(self) -> str:
        """The word stored and shown."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskState:
    """The persisted state of the risk machine; money in account currency, instants aware UTC.

    cause: machine-readable word. actor: `system` or a user name. until: end of a timed halt by venue time.
    baseline_equity: equity the daily loss is measured against, taken once for `baseline_session` (ISO date).
    high_water_equity: highest equity ever recorded. suspected_at: first reading of a loss that would flatten,
    waiting for a second one. epoch: grows with every change; the mirror file carries it.
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
