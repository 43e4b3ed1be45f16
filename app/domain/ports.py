"""What services need from the outside world, as protocols. Adapters implement them; `app.wiring` joins the two."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from app.domain.activity import Activities
from app.domain.bar import BarSeries, Snapshot
from app.domain.instrument import Instrument
from app.domain.order import Fill, ValidatedOrder, VenueOrder
from app.domain.portfolio import Position


class Clock(Protocol):
    """Tells the time; aware UTC."""

    def now(self) -> datetime:
        """The present instant."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueClock:
    """The venue's own time and session state; all instants aware UTC."""

    now: datetime
    is_open: bool
    next_open: datetime
    next_close: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The venue's view of our money. previous_close_equity: equity at the last session's close (daily-loss baseline)."""

    account_id: str
    cash: Decimal
    equity: Decimal
    previous_close_equity: Decimal
    buying_power: Decimal
    trading_blocked: bool
    currency: str = "USD"


class Broker(Protocol):
    """A venue that takes orders. Every call has its own timeout and raises only `VenueError` kinds."""

    def clock(self) -> VenueClock:
        """Venue time and session."""
        ...

    def account(self) -> Account:
        """Cash, equity, buying power."""
        ...

    def positions(self) -> dict[str, Position]:
        """All holdings by symbol."""
        ...

    def open_orders(self) -> list[VenueOrder]:
        """Every order that may still fill; bracket legs included, flat."""
        ...

    def closed_orders(
        self, *, since: datetime, symbols: Collection[str] = (), wanted: Collection[str] = ()
    ) -> list[VenueOrder]:
        """Every finished order submitted after `since`, newest first; bracket legs included, flat. symbols: only of these.
        wanted: ids, the venue's or ours; the listing ends once all of them are in it."""
        ...

    def order_history(self, *, since: datetime) -> list[VenueOrder]:
        """Every order submitted after `since`, open or finished; bracket legs included, flat, each with its parent's id."""
        ...

    def fills(self, *, since: datetime) -> list[Fill]:
        """Every execution at or after `since`, oldest first, as far as the venue's pages are as long as was asked for."""
        ...

    def activities(self, *, since: datetime) -> Activities:
        """The account statement at or after `since`, executions included, read until a page is empty."""
        ...

    def order_by_client_id(self, client_order_id: str) -> VenueOrder | None:
        """The order sent under our id, or None when the venue says it knows none."""
        ...

    def instruments(self, symbols: Sequence[str]) -> dict[str, Instrument]:
        """Trading rules of each known symbol; unknown symbols are absent."""
        ...

    def submit(self, validated: ValidatedOrder) -> VenueOrder:
        """Send once, never repeated by the transport. Refused: proven not accepted. OutcomeUnknown: look it up."""
        ...

    def cancel(self, venue_order_id: str) -> None:
        """Ask to cancel; done when the order is reported canceled. Already finished orders raise Refused."""
        ...

    def replace(self, venue_order_id: str, *, stop_price: Decimal) -> VenueOrder:
        """Let a stop rest at another price: a new order takes the place of the open one, which ends as replaced. Asked once,
        never repeated by the transport. Refused: it stays as it is. OutcomeUnknown: the next listing tells."""
        ...


class MarketData(Protocol):
    """A source of prices. Never answers with anything later than its own clock."""

    def daily_bars(self, symbols: Sequence[str], *, start: datetime, end: datetime) -> dict[str, BarSeries]:
        """Daily bars from `start` that were complete by `end`, split-adjusted; symbols without data are absent."""
        ...

    def bars(self, symbols: Sequence[str], *, timeframe: str, start: datetime, end: datetime) -> dict[str, BarSeries]:
        """Bars of any timeframe from `start` that were complete by `end`, all in one listing; symbols without are absent."""
        ...

    def recent_bars(self, symbol: str, *, timeframe: str, limit: int, end: datetime) -> BarSeries:
        """The newest `limit` bars of one symbol known by `end`."""
        ...

    def snapshots(self, symbols: Sequence[str]) -> Mapping[str, Snapshot]:
        """Newest price per symbol in one call; symbols without data are absent."""
        ...
