"""Everything one decision takes, collected as known at the venue's now: prices, bars, forecasts, and the book."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from app.domain.bar import BarSeries
from app.domain.forecast import Forecaster
from app.domain.order import Purpose
from app.domain.order_state import OrderState
from app.domain.portfolio import Portfolio
from app.domain.ports import Account, VenueClock
from app.domain.records import EntryOrder, IntentOrigin, IntentRecord
from app.domain.trading_state import RiskState
from app.engine.decision import Book, Context, OpenOrder, Sleeve
from app.engine.recording import Inputs
from app.engine.view import market_view
from app.risk.limits import Policy, RiskLimits
from app.runtime.calendar import midnight_new_york, session_day
from app.runtime.stopwatch import Stopwatch
from app.services.alpaca_service import AlpacaService
from app.services.database_service import DatabaseService
from app.services.trading.ownership import owners_of

LiveBars = Callable[[datetime], Mapping[str, BarSeries]]


class Collector:
    """Gathers the inputs of a decision."""

    def __init__(
        self,
        *,
        venue: AlpacaService,
        forecaster: Forecaster,
        database: DatabaseService,
        symbols: tuple[str, ...],
        limits: RiskLimits,
        policy: Policy,
        strategy: str,
        live_bars: LiveBars | None,
        sleeves: tuple[Sleeve, ...] = (),
    ) -> None:
        """live_bars: what the forecaster judges by, where that is other than the daily history. sleeves: of strategies that
        share the account."""
        self._venue = venue
        self._forecaster = forecaster
        self._database = database
        self._symbols = symbols
        self._limits = limits
        self._policy = policy
        self._strategy = strategy
        self._live_bars = live_bars
        self._sleeves = sleeves

    def prepare(self, now: datetime) -> None:
        """Fetch what is asked once a session. Raises VenueError."""
        self._venue.daily_history(now)
        self._venue.instruments()
        if self._live_bars is not None:
            self._live_bars(now)

    def collect(
        self,
        cycle_id: str,
        venue_clock: VenueClock,
        account: Account,
        portfolio: Portfolio,
        risk: RiskState,
        *,
        reconciled: bool,
        watch: Stopwatch,
    ) -> Inputs:
        """Ask the venue for prices (and once a session for bars), forecast, and put all beside the book. Raises VenueError."""
        now = venue_clock.now
        # A holding off the watch list is watched too, so that its stop and the account's value can be judged.
        symbols = self._symbols + tuple(sorted(set(portfolio.positions) - set(self._symbols)))
        with watch.stage("collect"):
            snapshots = self._venue.snapshots(symbols)
            bars = self._venue.daily_history(now)
            instruments = self._venue.instruments()
            judged = bars if self._live_bars is None else self._live_bars(now)
        with watch.stage("forecast"):
            forecasts = self._forecaster.forecast(judged, now)
        view = market_view(
            decided_at=now, symbols=symbols, snapshots=snapshots, bars=bars, forecasts=forecasts, is_open=venue_clock.is_open
        )
        return Inputs(
            view=view,
            book=self._book(account, portfolio, risk, now, reconciled=reconciled),
            context=Context(
                account_id=account.account_id,
                strategy=self._strategy,
                cycle_id=cycle_id,
                instruments=instruments,
                sleeves=self._sleeves,
            ),
            limits=self._limits,
            policy=self._policy,
        )

    def _book(self, account: Account, portfolio: Portfolio, risk: RiskState, now: datetime, *, reconciled: bool) -> Book:
        session = session_day(now)
        entries, exits = self._database.entries_and_exits(midnight_new_york(session))
        unsettled = self._database.unsettled_intents()
        return Book(
            session=session.isoformat(),
            cash=portfolio.cash,
            equity=account.equity,
            previous_close_equity=account.previous_close_equity,
            buying_power=account.buying_power,
            positions=dict(portfolio.positions),
            open_orders=tuple(_open_order(intent, now) for intent in unsettled),
            risk=risk,
            entries_today=entries,
            exits_today=exits,
            reconciled=reconciled and not account.trading_blocked,
            health=self._venue.health(),
            progress={symbol: plan.progress for symbol, plan in self._database.position_plans().items()},
            owners=self._owners(account.account_id, portfolio, unsettled) if self._sleeves else {},
        )

    def _owners(self, account_id: str, portfolio: Portfolio, unsettled: Sequence[IntentRecord]) -> dict[str, str]:
        open_entries = [
            EntryOrder(client_order_id=one.client_order_id, cycle_id=one.cycle_id, symbol=one.symbol)
            for one in unsettled
            if one.purpose is Purpose.ENTRY and one.cycle_id is not None
        ]
        return owners_of(
            [*self._database.last_entries(list(portfolio.positions)), *open_entries],
            portfolio.positions,
            account=account_id,
            strategies=[one.strategy for one in self._sleeves],
        )


def _open_order(intent: IntentRecord, now: datetime) -> OpenOrder:
    return OpenOrder(
        client_order_id=intent.client_order_id,
        symbol=intent.symbol,
        side=intent.side,
        purpose=Purpose.EXIT if intent.origin is IntentOrigin.LEG else intent.purpose,
        quantity=max(intent.quantity - intent.filled_quantity, Decimal(0)),
        price=intent.limit_price,
        protective=intent.is_protective,
        at_venue=intent.venue_order_id is not None and intent.state is not OrderState.UNKNOWN,
        external=intent.origin is IntentOrigin.EXTERNAL,
        stop_price=intent.stop_price,
        stale=intent.purpose is Purpose.ENTRY and intent.expires_at is not None and now >= intent.expires_at,
    )
