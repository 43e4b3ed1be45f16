"""Round trips: from flat to flat in one symbol, with what they earned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from app.domain.order import Side
from app.engine.ledger import Execution

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTrip:
    """A holding from its first buy to its last sale; money in account currency.

    profit: after commissions. return_fraction: profit over what was paid. reason: of the order that closed it.
    """

    symbol: str
    quantity: Decimal
    entry_price: Decimal
    exit_price: Decimal
    opened_at: datetime
    closed_at: datetime
    commissions: Decimal
    profit: Decimal
    return_fraction: float
    reason: str


@dataclass(slots=True, kw_only=True)
class _Open:
    opened_at: datetime
    bought: Decimal = _ZERO
    paid: Decimal = _ZERO
    sold: Decimal = _ZERO
    received: Decimal = _ZERO
    commissions: Decimal = _ZERO


class RoundTrips:
    """Collects executions of long holdings into round trips. closed: in the order of their ends."""

    def __init__(self) -> None:
        self.closed: list[RoundTrip] = []
        self._open: dict[str, _Open] = {}

    def book(self, execution: Execution) -> None:
        """Take in the next execution."""
        fill = execution.fill
        trip = self._open.setdefault(fill.symbol, _Open(opened_at=fill.filled_at))
        trip.commissions += fill.commission
        if fill.side is Side.BUY:
            trip.bought += fill.quantity
            trip.paid += fill.quantity * fill.price
            return
        trip.sold += fill.quantity
        trip.received += fill.quantity * fill.price
        if trip.sold >= trip.bought:
            self.closed.append(_closed(trip, execution))
            del self._open[fill.symbol]


def _closed(trip: _Open, last: Execution) -> RoundTrip:
    profit = trip.received - trip.paid - trip.commissions
    return RoundTrip(
        symbol=last.fill.symbol,
        quantity=trip.bought,
        entry_price=trip.paid / trip.bought if trip.bought else _ZERO,
        exit_price=trip.received / trip.sold,
        opened_at=trip.opened_at,
        closed_at=last.fill.filled_at,
        commissions=trip.commissions,
        profit=profit,
        return_fraction=float(profit / trip.paid) if trip.paid else 0.0,
        reason=last.reason,
    )
