"""The trading cycle: claim, reconcile, collect, forecast, decide, commit, send, record (S0-20, S0-35).

Everything that thinks is below this floor and pure; everything that touches the world is beside it. This file only puts
the steps in order, and sees to it that each cycle ends with a recorded outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import structlog

from app import __version__
from app.domain.bar import Snapshot
from app.domain.errors import UNAUTHORIZED, AlphaTraderError, NotFound, Refused, VenueError
from app.domain.forecast import Forecaster
from app.domain.portfolio import Portfolio
from app.domain.ports import Clock, VenueClock
from app.domain.records import ClaimOutcome, EquityPoint
from app.domain.trading_state import RiskState
from app.engine.decision import Decision, Sleeve, SymbolRecord
from app.engine.recording import Inputs, to_json
from app.risk.limits import Policy, RiskLimits
from app.risk.reservations import Capacity
from app.runtime import metrics
from app.runtime.calendar import midnight_new_york, session_day
from app.runtime.owner import is_alive, this_process
from app.runtime.stopwatch import Stopwatch
from app.services.alpaca_service import AlpacaService
from app.services.database_service import DatabaseService
from app.services.risk.status import READINGS
from app.services.risk_manager import RiskManager
from app.services.trading.collector import Collector, LiveBars
from app.services.trading.execution import Execution, Executor
from app.services.trading.observation import observe_inputs
from app.services.trading.reconciliation import Reconciled, Reconciler, Trigger
from app.services.verdicts.verdict_gate import VerdictGate
from app.strategies.catalog import MODEL_DRIVEN

log = structlog.get_logger()

LONGEST_AHEAD = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleReport:
    """What one cycle did. outcome: completed, market_closed, failed, or why it did not run (already_done, overlap...)."""

    cycle_id: str
    outcome: str
    detail: str = ""
    orders: int = 0
    fills: int = 0
    equity: Decimal | None = None


class TradingService:
    """Runs cycles and answers questions about them."""

    def __init__(
        self,
        *,
        venue: AlpacaService,
        forecaster: Forecaster,
        risk: RiskManager,
        database: DatabaseService,
        clock: Clock,
        symbols: tuple[str, ...],
        limits: RiskLimits,
        policy: Policy,
        cycle_seconds: int,
        strategy: str = MODEL_DRIVEN,
        live_bars: LiveBars | None = None,
        verdicts: VerdictGate | None = None,
        version: str = __version__,
        sleeves: tuple[Sleeve, ...] = (),
    ) -> None:
        """strategy: its name, part of every order's id. sleeves: of strategies that share the account. live_bars: see
        `Collector`. verdicts: whether it may enter at all."""
        self._venue = venue
        self._risk = risk
        self._database = database
        self._clock = clock
        self._symbols = symbols
        self._cycle_seconds = cycle_seconds
        self._version = version
        self._collector = Collector(
            venue=venue,
            forecaster=forecaster,
            database=database,
            symbols=symbols,
            limits=limits,
            policy=policy,
            strategy=strategy,
            live_bars=live_bars,
            sleeves=sleeves,
        )
        self._reconciler = Reconciler(venue=venue, database=database)
        self._verdicts = verdicts
        self._executor = Executor(venue=venue, database=database, gate=self._entries_forbidden)

    def prepare(self) -> None:
        """Pay the price of a first cycle in advance: calendar, trading rules, models, compiled rules. Writes nothing but
        bars, and an alert where the strategy may not enter by its verdict. Raises VenueError when the venue does not answer."""
        self._tell_verdict()
        self._venue.prepare()
        self.signal(self._symbols[0])

    def run_cycle(self, trigger: str = "schedule", request_id: str = "") -> CycleReport:
        """One cycle for the slot the venue's clock is in. At most one effective cycle per slot (and per `request_id` for
        cycles asked for by hand); failures end as a recorded outcome, and only bugs are raised. Raises ConfigurationError
        once a newer version of the product has worked on the database."""
        self._database.require_build(self._version)
        venue_clock = self._venue_clock()
        slot = _slot(venue_clock.now, self._cycle_seconds)
        cycle_id = f"{slot:%Y%m%dT%H%M%SZ}" + (f"-{request_id[:8]}" if request_id else "")
        claim = self._database.claim_cycle(
            cycle_id, slot=slot, started_at=self._clock.now(), owner=this_process(), trigger=trigger, is_alive=is_alive
        )
        if claim is not ClaimOutcome.CLAIMED:
            detail = f"nothing was done: the cycle of {slot:%Y-%m-%d %H:%M:%S} UTC is {claim.value.replace('_', ' ')}"
            return CycleReport(cycle_id=cycle_id, outcome=claim.value, detail=detail)
        with structlog.contextvars.bound_contextvars(cycle_id=cycle_id):
            return self._run_claimed(cycle_id, slot, venue_clock)

    def signal(self, symbol: str) -> SymbolRecord:
        """What a cycle would decide about `symbol` now; nothing is written or sent. Raises NotFound off the watch list."""
        if symbol not in self._symbols:
            raise NotFound(f"{symbol} is not on the watch list", code="symbol_unknown")
        venue_clock = self._venue.clock()
        account, held = self._venue.account(), self._venue.positions()
        state = self._risk.peek(account, _session(venue_clock.now), venue_clock.now)
        portfolio = Portfolio(cash=account.cash, positions=held)
        inputs = self._collector.collect("signal", venue_clock, account, portfolio, state, reconciled=True, watch=Stopwatch())
        decision = _decide(inputs)
        record = next(record for record in decision.records if record.symbol == symbol)
        if venue_clock.is_open:
            return record
        return replace(record, detail=f"{_closed(venue_clock)}. {record.detail}".strip())

    def portfolio_view(self) -> dict[str, Any]:
        """Account, positions at the newest prices, and the gain of each, as the dashboard shows them."""
        account, held = self._venue.account(), self._venue.positions()
        snapshots = self._venue.snapshots(tuple(held)) if held else {}
        return {
            "account": account,
            "positions": [
                {
                    "symbol": position.symbol,
                    "quantity": position.quantity,
                    "average_entry_price": position.average_entry_price,
                    "price": price,
                    "market_value": position.quantity * price if price is not None else None,
                    "unrealized": position.unrealized(price) if price is not None else None,
                }
                for position in held.values()
                for price in [_price(snapshots.get(position.symbol))]
            ],
        }

    def _entries_forbidden(self) -> str | None:
        """The risk state and the kill file last: they can change at any instant."""
        unproven = None if self._verdicts is None else self._verdicts.entries_forbidden()
        return unproven or self._risk.entries_forbidden()

    def _tell_verdict(self) -> None:
        objection = None if self._verdicts is None else self._verdicts.objection()
        if self._verdicts is None or objection is None:
            return
        refused = self._verdicts.entries_forbidden() is not None
        log.warning("strategy_unproven", detail=objection, entries="refused" if refused else "allowed: no real money")
        if refused:
            self._database.enqueue_alert("verdict", f"No entry is sent: {objection}")

    def _venue_clock(self) -> VenueClock:
        try:
            return self._venue.clock()
        except Refused as refusal:
            if refusal.code == UNAUTHORIZED:
                self._risk.locked_out(refusal.message)
            raise

    def reconcile(self, trigger: str = Trigger.MANUAL) -> Reconciled:
        """Make our books equal to the venue's, open or closed; what stays unexplained stops entries. Raises VenueError."""
        return self._settle_books(self._venue.clock().now, Trigger(trigger))[0]

    def accept_books(self, *, actor: str, reason: str) -> Reconciled:
        """Book what nothing explains as it stands at the venue; see `Reconciler.accept`."""
        return self._reconciler.accept(self._venue.clock().now, actor=actor, reason=reason)

    def preview_reconciliation(self) -> Reconciled:
        """What `reconcile` would find; nothing is written."""
        return self._reconciler.preview(self._venue.clock().now)

    # -- one claimed cycle ---------------------------------------------------------------------------------------------
    def _run_claimed(self, cycle_id: str, slot: datetime, venue_clock: VenueClock) -> CycleReport:
        watch = Stopwatch()
        equity: EquityPoint | None = None
        try:
            if venue_clock.is_open:
                report, equity = self._trade(cycle_id, slot, venue_clock, watch)
            else:
                self._prepare_opening(venue_clock, watch)
                report = CycleReport(cycle_id=cycle_id, outcome="market_closed", detail=_closed(venue_clock))
        except AlphaTraderError as error:
            log.warning("cycle_failed", code=error.code, error=error.message)
            self._database.enqueue_alert("cycle", f"Cycle {cycle_id} failed: {error.message}")
            if error.code == UNAUTHORIZED:
                self._risk.locked_out(error.message)
            elif isinstance(error, VenueError):
                self._risk.venue_lost(error.message)
            report = CycleReport(cycle_id=cycle_id, outcome="failed", detail=f"{error.code}: {error.message}")
        except Exception as error:
            report = CycleReport(cycle_id=cycle_id, outcome="failed", detail=f"{type(error).__name__}: {error}")
            self._finish(report, watch, None, venue_clock)
            raise
        seconds = self._finish(report, watch, equity, venue_clock)
        log.info("cycle_finished", outcome=report.outcome, detail=report.detail, seconds=round(seconds, 3))
        return report

    def _trade(
        self, cycle_id: str, slot: datetime, venue_clock: VenueClock, watch: Stopwatch
    ) -> tuple[CycleReport, EquityPoint | None]:
        now = venue_clock.now
        self._database.expire_ready_intents(before_cycle=cycle_id)
        with watch.stage("reconcile"):
            books, state = self._settle_books(now, Trigger.CYCLE)
        agree = not books.unexplained
        inputs = self._collector.collect(
            cycle_id, venue_clock, books.account, books.sellable, state, reconciled=agree, watch=watch
        )
        with watch.stage("decide"):
            decision = _decide(inputs)
        with watch.stage("commit"):
            expires_at = slot + timedelta(seconds=self._cycle_seconds)
            seen = to_json(inputs) | {READINGS: decision.readings}
            self._database.record_decision(
                cycle_id, decision, inputs=seen, capacity=_capacity(inputs), orders_expire_at=expires_at
            )
            self._risk.mirror(decision.risk)
        with watch.stage("send"):
            execution = self._executor.execute(decision, cycle_id=cycle_id, now=now)
        equity = _equity_point(inputs, books)
        observe_inputs(self._venue.mode, inputs, decision, books)
        self._observe(decision, books, equity, now)
        report = CycleReport(
            cycle_id=cycle_id,
            outcome="completed",
            detail=_summary(decision, execution, books),
            orders=execution.sent,
            fills=books.fills,
            equity=equity.equity if equity else None,
        )
        return report, equity

    def _prepare_opening(self, venue_clock: VenueClock, watch: Stopwatch) -> None:
        """In the last slot before a session: fetch what its first cycle would have to. Earlier, a split that comes into force
        with the session might be missing from the bars."""
        ahead = min(timedelta(seconds=self._cycle_seconds), LONGEST_AHEAD)
        if venue_clock.next_open - venue_clock.now > ahead:
            return
        with watch.stage("collect"):
            try:
                self._collector.prepare(venue_clock.now)
            except VenueError as error:  # the first cycle of the session asks again
                log.warning("opening_not_prepared", code=error.code, error=error.message)

    def _settle_books(self, now: datetime, trigger: Trigger) -> tuple[Reconciled, RiskState]:
        books = self._reconciler.reconcile(now, trigger)
        state = self._risk.current(books.account, _session(now), now, adopted=books.had_past)
        return books, self._risk.books_differ(state, "; ".join(books.differences)) if books.unexplained else state

    def _finish(self, report: CycleReport, watch: Stopwatch, equity: EquityPoint | None, venue_clock: VenueClock) -> float:
        seconds = watch.total()
        metrics.observe_cycle(report.outcome, seconds, finished_at=venue_clock.now.timestamp())
        self._database.finish_cycle(
            report.cycle_id,
            outcome=report.outcome,
            detail=report.detail,
            finished_at=self._clock.now(),
            timings=watch.seconds,
            equity=equity,
        )
        return seconds

    def _observe(self, decision: Decision, books: Reconciled, equity: EquityPoint | None, now: datetime) -> None:
        metrics.observe_decisions(decision.records)
        metrics.observe_daily_volume(self._venue.mode, self._database.filled_value(midnight_new_york(session_day(now))))
        if equity is None or equity.equity <= 0:
            return
        risk = decision.risk
        metrics.observe_portfolio(
            self._venue.mode,
            equity=equity.equity,
            cash=equity.cash,
            daily_return=float(equity.equity / risk.baseline_equity - 1) if risk.baseline_equity > 0 else None,
            drawdown=float(1 - equity.equity / max(equity.equity, risk.high_water_equity)),
            exposure=float(equity.positions_value / equity.equity),
            positions=len(books.portfolio.positions),
            trading_state=risk.trading_state,
        )


def _decide(inputs: Inputs) -> Decision:
    from app.engine.decide import decide  # the compiled rules weigh 100 MB: only a process that decides loads them

    return decide(inputs.view, inputs.book, inputs.context, inputs.limits, inputs.policy)


def _capacity(inputs: Inputs) -> Capacity:
    prices = zip(inputs.view.symbols, inputs.view.price.tolist(), strict=True)
    return Capacity(
        equity=inputs.book.equity,
        buying_power=inputs.book.buying_power,
        prices={symbol: Decimal(repr(price)) for symbol, price in prices if price > 0.0},
        limits=inputs.limits,
    )


def _closed(clock: VenueClock) -> str:
    return f"the venue opens {clock.next_open:%Y-%m-%d %H:%M} UTC"


def _slot(now: datetime, cycle_seconds: int) -> datetime:
    return datetime.fromtimestamp(now.timestamp() // cycle_seconds * cycle_seconds, UTC)


def _session(now: datetime) -> str:
    return session_day(now).isoformat()


def _price(snapshot: Snapshot | None) -> Decimal | None:
    return Decimal(repr(snapshot.price)) if snapshot is not None and snapshot.price > 0 else None


def _equity_point(inputs: Inputs, books: Reconciled) -> EquityPoint | None:
    """Our own mark at the prices the decision saw; None while a holding has no price."""
    prices = dict(zip(inputs.view.symbols, inputs.view.price.tolist(), strict=True))
    held: Mapping[str, Any] = books.portfolio.positions
    if not all(prices.get(symbol, 0.0) > 0.0 for symbol in held):
        return None
    told = books.account.equity
    equity = books.portfolio.mark({symbol: Decimal(repr(prices[symbol])) for symbol in held})
    return EquityPoint(
        at=inputs.view.decided_at,
        cash=books.portfolio.cash,
        positions_value=equity - books.portfolio.cash,
        equity=equity,
        venue_equity=told if told.is_finite() else None,
    )


def _summary(decision: Decision, execution: Execution, books: Reconciled) -> str:
    parts = [f"{len(decision.records)} symbols", f"{execution.sent} orders"]
    parts += [f"{count} {word}" for word in ("refused", "unknown", "unsent") if (count := getattr(execution, word))]
    if decision.cancels:
        parts.append(f"{len(decision.cancels)} cancels")
    if books.differences:
        parts.append("books differ: " + "; ".join(books.differences))
    return ", ".join(parts)
