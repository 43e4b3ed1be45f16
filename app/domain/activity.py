"""What happens to an account besides our own orders: money that comes and goes, dividends, splits, shares that are moved."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from app.domain.order import Fill


class ActivityKind(StrEnum):
    """deposit, withdrawal, transfer: neither gain nor loss, whatever moves. adjustment: a person accepted the venue's books.
    reorganization: mergers, spin-offs, removals. other: a word of the venue that we do not know."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    TRANSFER = "transfer"
    DIVIDEND = "dividend"
    INTEREST = "interest"
    FEE = "fee"
    SPLIT = "split"
    REORGANIZATION = "reorganization"
    ADJUSTMENT = "adjustment"
    OTHER = "other"

    @property
    def is_transfer(self) -> bool:
        """Whether it moves the daily baseline and the peak along with the account."""
        return self in _TRANSFERS

    @property
    def is_gain(self) -> bool:
        """Whether its money is income or expense."""
        return self not in _TRANSFERS and self is not ActivityKind.ADJUSTMENT


_TRANSFERS = frozenset({ActivityKind.DEPOSIT, ActivityKind.WITHDRAWAL, ActivityKind.TRANSFER})


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """One entry of the venue's account statement that is no execution. activity_id: the venue's, the key against booking twice.

    amount: money that came (below zero: went), account currency. quantity: units by which the holding in `symbol` changed.
    price: what those units are worth each, None if nobody said. word: the venue's own name for it.
    """

    activity_id: str
    kind: ActivityKind
    word: str
    at: datetime
    amount: Decimal
    symbol: str | None = None
    quantity: Decimal = Decimal(0)
    price: Decimal | None = None
    description: str = ""

    @property
    def moved(self) -> Decimal:
        """The value that a transfer brought into the account; zero for everything else."""
        return self.amount + self.quantity * (self.price or Decimal(0)) if self.kind.is_transfer else Decimal(0)

    def __str__(self) -> str:
        parts = [self.kind.value]
        parts += [f"{self.quantity.normalize():+f} {self.symbol}"] if self.quantity else [self.symbol] if self.symbol else []
        parts += [f"{self.amount:+.2f} in cash"] if self.amount else []
        return " ".join(parts) + (f" ({self.description})" if self.description else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Activities:
    """An account statement: executions and everything else, each oldest first."""

    fills: tuple[Fill, ...] = ()
    entries: tuple[Activity, ...] = ()
