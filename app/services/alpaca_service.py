"""The venue as the other services see it: orders and account through the broker, prices and history through market data.

Completed daily bars are fetched once a session and kept in the database; everything else is asked when needed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from app.domain.activity import Activities
from app.domain.bar import DAILY, BarSeries, Snapshot, no_bars
from app.domain.errors import ConfigurationError, TryAgain, VenueError
from app.domain.instrument import Instrument
from app.domain.order import Fill, ValidatedOrder, VenueOrder
from app.domain.portfolio import Position
from app.domain.ports import Account, Broker, Clock, MarketData, VenueClock
from app.domain.trading_state import VenueHealth
from app.runtime.calendar import TradingCalendar
from app.services.database_service import DatabaseService

SIMULATED = "simulated"
FORECAST_DAYS = 260  # calendar days that hold the 120 completed sessions a forecast needs, holidays included
TRAINING_DAYS = 2_600  # about 1,800 sessions


class Venue(Broker, Protocol):
    """A broker that also tells its calendar."""

    def calendar(self) -> TradingCalendar:
        """The venue's sessions."""
        ...


class AlpacaService:
    """Venue calls and market data (S0-33). Stateless but for what is constant within a session.

    mode: simulated, paper or live; a simulated venue has a time of its own. health: how this process's calls to the venue
    fared lately. account_id: the only account to trade on; any, where it is empty and the books are not open yet.
    history_days: calendar days of daily bars to judge by."""

    def __init__(
        self,
        *,
        broker: Venue,
        data: MarketData,
        database: DatabaseService,
        clock: Clock,
        symbols: Sequence[str],
        mode: str,
        url: str,
        health: Callable[[], VenueHealth] = VenueHealth,
        account_id: str = "",
        history_days: int = FORECAST_DAYS,
    ) -> None:
        self._broker = broker
        self._data = data
        self._database = database
        self._clock = clock
        self._symbols = tuple(symbols)
        self.mode = mode
        self._url = url
        self._wire_health = health
        self._skew_seconds = 0.0
        self._account_id = account_id
        self._history_days = history_days
        self._instruments: dict[str, Instrument] = {}
        self._history: tuple[datetime, dict[str, BarSeries]] | None = None
        self._compared = False

    # -- session and account -------------------------------------------------------------------------------------------
    def prepare(self) -> None:
        """Read what holds for the life of the process: calendar and trading rules."""
        self._broker.calendar()
        self.instruments()

    def clock(self) -> VenueClock:
        """Venue time and session."""
        asked_at = self._clock.now()
        clock = self._broker.clock()
        if self.mode != SIMULATED:
            # While the call lasted the venue may have looked at its clock at any moment.
            early, late = asked_at - clock.now, clock.now - self._clock.now()
            self._skew_seconds = max(0.0, early.total_seconds(), late.total_seconds())
        return clock

    def health(self) -> VenueHealth:
        """How this process's calls to the venue fared lately, and how far the clocks were apart when last compared."""
        return replace(self._wire_health(), clock_skew_seconds=self._skew_seconds)

    def calendar(self) -> TradingCalendar:
        """The venue's sessions."""
        return self._broker.calendar()

    def account(self) -> Account:
        """Cash, equity, buying power. Raises ConfigurationError for another account than that of the settings or the books."""
        account = self._broker.account()
        if not self._account_id:
            opened = self._database.account()
            self._account_id = opened.account_id if opened is not None else ""
        if self._account_id and account.account_id != self._account_id:
            raise ConfigurationError(
                f"the venue answers as account {account.account_id}, but this installation belongs to {self._account_id}: set "
                "the keys of that account, or another DATABASE_URL and ALPACA_ACCOUNT_ID",
                code="wrong_account",
            )
        return account

    def positions(self) -> dict[str, Position]:
        """All holdings by symbol."""
        return self._broker.positions()

    def instruments(self) -> dict[str, Instrument]:
        """Trading rules of the watch list; symbols the venue does not list are absent."""
        if not self._instruments:
            self._instruments = self._broker.instruments(self._symbols)
        return self._instruments

    # -- orders --------------------------------------------------------------------------------------------------------
    def open_orders(self) -> list[VenueOrder]:
        """Every order that may still fill."""
        return self._broker.open_orders()

    def closed_orders(
        self, since: datetime, *, symbols: Collection[str] = (), wanted: Collection[str] = ()
    ) -> list[VenueOrder]:
        """Finished orders submitted after `since`; see `domain.ports.Broker.closed_orders`."""
        return self._broker.closed_orders(since=since, symbols=symbols, wanted=wanted)

    def order_history(self, since: datetime) -> list[VenueOrder]:
        """Every order submitted after `since`, with parents."""
        return self._broker.order_history(since=since)

    def fills(self, since: datetime) -> list[Fill]:
        """Every execution at or after `since`, oldest first."""
        return self._broker.fills(since=since)

    def activities(self, since: datetime) -> Activities:
        """The account statement at or after `since`."""
        return self._broker.activities(since=since)

    def order_by_client_id(self, client_order_id: str) -> VenueOrder | None:
        """The order sent under our id, or None."""
        return self._broker.order_by_client_id(client_order_id)

    def books_compared(self) -> None:
        """Orders may leave from now on, for the life of this process."""
        self._compared = True

    def submit(self, validated: ValidatedOrder) -> VenueOrder:
        """Send once; see `domain.ports.Broker.submit`. TryAgain, and nothing is sent, before this process has compared the
        books with the venue's."""
        if not self._compared:
            raise TryAgain("nothing is sent before the books have been compared with the venue's", code="not_reconciled")
        return self._broker.submit(validated)

    def cancel(self, venue_order_id: str) -> None:
        """Ask to cancel; see `domain.ports.Broker.cancel`."""
        self._broker.cancel(venue_order_id)

    def replace(self, venue_order_id: str, *, stop_price: Decimal) -> VenueOrder:
        """Move a resting stop; see `domain.ports.Broker.replace`."""
        return self._broker.replace(venue_order_id, stop_price=stop_price)

    # -- market data ---------------------------------------------------------------------------------------------------
    def snapshots(self, symbols: Sequence[str] | None = None) -> Mapping[str, Snapshot]:
        """Newest price per symbol (default: the watch list) in one call."""
        return self._data.snapshots(symbols or self._symbols)

    def recent_bars(self, symbol: str, *, timeframe: str = DAILY, limit: int = 100, end: datetime | None = None) -> BarSeries:
        """The newest `limit` bars of one symbol complete by `end` (default: the venue's now)."""
        return self._data.recent_bars(symbol, timeframe=timeframe, limit=limit, end=end or self.clock().now)

    def daily_history(self, at: datetime) -> dict[str, BarSeries]:
        """Completed daily bars of the watch list, enough to forecast from; asked of the venue once a session."""
        closed = self.calendar().previous_close(at)
        if self._history is None or self._history[0] != closed:
            bars = self._data.daily_bars(self._symbols, start=at - timedelta(days=self._history_days), end=at)
            self._database.save_bars(bars)
            self._history = (closed, bars)
        return self._history[1]

    def bars(self, *, timeframe: str, start: datetime, end: datetime) -> dict[str, BarSeries]:
        """Bars of the watch list from `start` that were complete by `end`; see `domain.ports.MarketData.bars`."""
        return self._data.bars(self._symbols, timeframe=timeframe, start=start, end=end)

    def training_bars(self, symbols: Sequence[str] | None = None) -> tuple[dict[str, BarSeries], datetime]:
        """(completed daily bars of several years, the venue's now): nothing later than the venue's clock. A symbol the venue
        has no bars of comes with none, so that whoever works on them says so instead of leaving it out."""
        now = self.clock().now
        wanted = tuple(symbols or self._symbols)
        bars = self._data.daily_bars(wanted, start=now - timedelta(days=TRAINING_DAYS), end=now)
        self._database.save_bars(bars)
        return {symbol: bars[symbol] if symbol in bars else no_bars(symbol) for symbol in wanted}, now

    def test_connection(self) -> dict[str, Any]:
        """Whether the venue answers, as whom, and how fast; never raises for a venue that does not."""
        started = self._clock.now()
        answer: dict[str, Any] = {"mode": self.mode, "url": self._url}
        try:
            account, clock = self.account(), self.clock()
        except VenueError as error:
            return {**answer, "ok": False, "code": error.code, "error": error.message}
        elapsed = (self._clock.now() - started).total_seconds()
        return {
            **answer,
            "ok": True,
            "account_id": account.account_id,
            "venue_time": clock.now,
            "is_open": clock.is_open,
            "latency_ms": round(elapsed * 500, 1),
        }
