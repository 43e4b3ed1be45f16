"""DivergenceService: what live did in a period beside what the backtester makes of it, by the stored bars."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import structlog

from app.backtest.divergence.redecide import Cause, RecordedCycle, redecide
from app.backtest.divergence.rematch import Setting, session_tapes
from app.backtest.divergence.report import Divergence, Period, compare, execution_of
from app.backtest.divergence.stored_market import Stored
from app.domain.bar import DAILY, MINUTE, BarSeries
from app.domain.errors import InvalidInput, NotFound, VenueError
from app.domain.forecast import Forecaster
from app.domain.instrument import Instrument
from app.domain.order import Order, OrderType, Purpose, Side, TimeInForce
from app.domain.portfolio import Portfolio
from app.domain.records import CycleRecord, FillRecord, IntentOrigin, IntentRecord
from app.engine.costs import CostModel
from app.engine.recording import Inputs, from_json
from app.runtime import metrics
from app.runtime.calendar import Session, midnight_new_york, session_day
from app.services.alpaca_service import AlpacaService
from app.services.database_service import DatabaseService

log = structlog.get_logger()
Progress = Callable[[int, int, str], None]
JudgedBars = Callable[[datetime, int], Mapping[str, BarSeries]]
KIND = "divergence"
MINUTES_A_SESSION = 390
WANTED_CORRELATION = 0.8  # S4-40
_HISTORY = timedelta(days=2_000)  # more than the view's numbers, a forecast or a strategy of daily bars look back
_LATE = timedelta(minutes=15)
_ALL = 1_000_000
_MOST_ROWS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A divergence report over the sessions `first` to `last`. notes: what could not be compared, and why."""

    first: date
    last: date
    found: Divergence
    notes: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether every decision came out the same."""
        return self.found.differing_decisions == 0

    def plain(self) -> dict[str, Any]:
        """As values that JSON knows, but for decimals and instants; the differing decisions first, 500 rows at most."""
        found = self.found
        rows = sorted(found.differences, key=lambda one: (not one.is_decision, one.at))
        return {
            "first": self.first,
            "last": self.last,
            "cycles": found.cycles,
            "decisions": found.decisions,
            "differing_decisions": found.differing_decisions,
            "agrees": self.agrees,
            "live_gain": _plainly(found.live_gain),
            "backtest_gain": _plainly(found.backtest_gain),
            "gap": _plainly(found.gap),
            "amounts": {cause.value: _plainly(found.amount(cause)) for cause in Cause},
            "by_symbol": {
                cause.value: {symbol: _plainly(amount) for symbol, amount in found.amounts[cause].items()}
                for cause in Cause
                if found.amounts[cause]
            },
            "correlation": found.correlation,
            "correlation_reached": None if found.correlation is None else found.correlation > WANTED_CORRELATION,
            "days": found.days,
            "differences": rows[:_MOST_ROWS],
            "difference_count": len(rows),
            "unmatched": found.unmatched,
            "unjudged_forecasts": found.unjudged_forecasts,
            "notes": self.notes,
        }


class DivergenceService:
    """forecaster: that of live trading. judged_bars: what it judges by, where that is not the daily history: bars complete
    by an instant, of so many sessions before it. costs: what the backtest charges."""

    def __init__(
        self,
        *,
        database: DatabaseService,
        venue: AlpacaService,
        forecaster: Forecaster,
        judged_bars: JudgedBars | None = None,
        costs: CostModel | None = None,
    ) -> None:
        self._database = database
        self._venue = venue
        self._forecaster = forecaster
        self._judged_bars = judged_bars
        self._costs = costs or CostModel()

    def report(
        self,
        first: date | None = None,
        last: date | None = None,
        *,
        progress: Progress = lambda _done, _total, _what: None,
    ) -> Report:
        """The sessions from `first` to `last`, both included; default: the newest that began. Nothing is written but the minute
        bars that were lacking. Raises InvalidInput for an impossible span and NotFound where nothing was recorded.

        progress(done, total, what) comes after each cycle; what it raises ends the report.
        """
        sessions = self._sessions(first, last)
        since, until = midnight_new_york(sessions[0].day), sessions[-1].closes_at
        cycles = self._cycles(since, until, progress)
        intents = {intent.client_order_id: intent for intent in self._database.orders(limit=_ALL)}
        fills = sorted(
            (record for record in self._database.fills(limit=_ALL) if since <= record.fill.filled_at <= until),
            key=lambda record: (record.fill.filled_at, record.fill.execution_id),
        )
        began = from_json(dict(cycles[0].recording))
        return self._compared(sessions, cycles, intents, fills, began, progress)

    def nightly(self, progress: Progress = lambda _done, _total, _what: None) -> Report | None:
        """The newest session, with the gauge set and people told when a decision differs; None where nothing was recorded."""
        try:
            report = self.report(progress=progress)
        except NotFound as nothing:
            log.info("divergence_not_compared", why=nothing.message)
            return None
        found = report.found
        metrics.observe_divergence(self._venue.mode, found.differing_decisions)
        log.info("divergence", differing=found.differing_decisions, decisions=found.decisions, gap=str(found.gap))
        if not report.agrees:
            first = next(one for one in found.differences if one.is_decision)
            self._database.enqueue_alert(
                KIND,
                f"{found.differing_decisions} of {found.decisions} decisions of {report.last} come out otherwise, made again. "
                f"The first: {first.symbol} in {first.cycle_id}, {first.cause.value}: live {first.live}, again {first.again}",
            )
        return report

    def _sessions(self, first: date | None, last: date | None) -> list[Session]:
        now = self._venue.clock().now
        calendar = self._venue.calendar()
        newest = [s for s in calendar.between(session_day(now) - timedelta(days=10), session_day(now)) if s.opens_at < now]
        if first is None and last is None:
            return newest[-1:]
        start, end = first or last, last or session_day(now)
        if start is None or start > end:
            raise InvalidInput(f"the period ends on {end}, before it begins on {start}; swap the two dates")
        found = [session for session in calendar.between(start, end) if session.opens_at < now]
        if not found:
            raise InvalidInput(f"no session has begun between {start} and {end}; give trading days of the past")
        return found

    def _cycles(self, since: datetime, until: datetime, progress: Progress) -> list[RecordedCycle]:
        known = [c for c in self._database.cycles(limit=_ALL) if c.decided_at is not None and since <= c.decided_at <= until]
        if not known:
            raise NotFound(f"no cycle decided between {since:%Y-%m-%d} and {until:%Y-%m-%d}", code="not_recorded")
        known.sort(key=lambda cycle: (cycle.decided_at or cycle.slot, cycle.cycle_id))
        found = []
        for done, cycle in enumerate(known, start=1):
            found.append(self._recorded(cycle))
            progress(done, 2 * len(known) + 1, f"read {cycle.cycle_id}")
        return found

    def _recorded(self, cycle: CycleRecord) -> RecordedCycle:
        rows = self._database.decisions(cycle_id=cycle.cycle_id, limit=_ALL)
        intents = self._database.orders(limit=_ALL, cycle_id=cycle.cycle_id)
        return RecordedCycle(
            cycle_id=cycle.cycle_id,
            recording=self._database.cycle(cycle.cycle_id).inputs or {},
            rows={row.symbol: row for row in rows},
            intents=tuple(reversed([intent for intent in intents if intent.origin is IntentOrigin.DECISION])),
        )

    def _compared(
        self,
        sessions: Sequence[Session],
        cycles: Sequence[RecordedCycle],
        intents: Mapping[str, IntentRecord],
        fills: Sequence[FillRecord],
        began: Inputs,
        progress: Progress,
    ) -> Report:
        since, until, opened_at = midnight_new_york(sessions[0].day), sessions[-1].closes_at, began.view.decided_at
        entries = [entry for entry in self._database.activities(since) if entry.at <= until]
        symbols = sorted({*began.view.symbols, *began.book.positions, *(record.fill.symbol for record in fills)})
        traded = (
            {record.fill.symbol for record in fills} | {i.symbol for c in cycles for i in c.intents} | {*began.book.positions}
        )
        daily = self._database.bars(symbols, DAILY, start=since - _HISTORY, end=until)
        minutes, notes = self._minutes(sorted(traded), sessions)
        judged_by = (
            daily if self._judged_bars is None else self._judged_bars(min(until, self._venue.clock().now), len(sessions))
        )
        stored = Stored(daily=daily, minutes=minutes, judged=judged_by, forecaster=self._forecaster)
        judged = []
        for one in redecide(cycles, [execution_of(record) for record in fills], entries, stored):
            judged.append(one)
            progress(len(cycles) + len(judged), 2 * len(cycles) + 1, f"decided {one.cycle.cycle_id} again")
        later = [record for record in fills if record.fill.filled_at > opened_at]
        taken_back = {record.fill.symbol for record in later if record.fill.reverses is not None}
        moved = {entry.symbol for entry in entries if entry.symbol is not None and entry.quantity}
        unmatched = frozenset(symbol for symbol in traded if symbol not in minutes) | taken_back | moved
        resting, left_out = resting_pairs(began, intents)
        notes += [
            f"{symbol}: executions were taken back, or units moved; it is taken as it was" for symbol in taken_back | moved
        ]
        setting = Setting(
            opened_at=opened_at,
            opening=Portfolio(cash=began.book.cash, positions=dict(began.book.positions)),
            resting=tuple(order for order in resting if order.symbol not in unmatched),
            tapes=session_tapes(sessions, symbols, daily, minutes),
            given=tuple(execution_of(record) for record in later if _is_given(record, unmatched)),
            instruments={s: Instrument(symbol=s) for s in symbols} | dict(judged[-1].inputs.context.instruments),
            costs=self._costs,
        )
        beside = [i for i in intents.values() if i.cycle_id is None and i.origin is IntentOrigin.DECISION]
        period = Period(
            judged=judged,
            fills=later,
            intents=intents,
            beside=[i for i in beside if i.sent_at is not None and opened_at < i.sent_at <= until],
            setting=setting,
            unmatched=unmatched,
        )
        found = compare(period)
        progress(2 * len(cycles) + 1, 2 * len(cycles) + 1, "matched again")
        return Report(first=sessions[0].day, last=sessions[-1].day, found=found, notes=(*notes, *left_out))

    def _minutes(self, symbols: Sequence[str], sessions: Sequence[Session]) -> tuple[dict[str, BarSeries], list[str]]:
        """Minute bars of the sessions: the stored ones, fetched and stored first where they do not reach the last minutes."""
        first, last = sessions[0].opens_at, sessions[-1].closes_at
        now = self._venue.clock().now
        stored = self._database.bars(symbols, MINUTE, start=first, end=last)
        notes = []
        for symbol in symbols:
            series = stored.get(symbol)
            if series is not None and all(_covers(series, session, now) for session in sessions):
                continue
            wanted = sum((session.closes_at - session.opens_at) // timedelta(minutes=1) for session in sessions)
            try:
                bars = self._venue.recent_bars(symbol, timeframe=MINUTE, limit=int(wanted), end=min(now, last))
            except VenueError as fault:
                notes.append(f"{symbol}: its minute bars cannot be fetched ({fault.message})")
                continue
            self._database.save_bars({symbol: bars})
        stored = self._database.bars(symbols, MINUTE, start=first, end=last)
        notes += [
            f"{symbol}: there are no minute bars to match its orders with; taken as it was"
            for symbol in symbols
            if symbol not in stored
        ]
        return stored, notes


def resting_pairs(began: Inputs, intents: Mapping[str, IntentRecord]) -> tuple[list[Order], list[str]]:
    """The pairs of exits that were working at the first decision, as orders; and those that cannot be set up again."""
    families: dict[str, list[IntentRecord]] = {}
    for order in began.book.open_orders:
        intent = intents.get(order.client_order_id)
        if order.protective and intent is not None:
            families.setdefault(intent.parent_id or intent.client_order_id, []).append(intent)
    told = {order.client_order_id: order for order in began.book.open_orders}
    pairs, left_out = [], []
    for name, legs in families.items():
        target = next((leg.limit_price for leg in legs if leg.stop_price is None), None)
        stop = next((told[leg.client_order_id].stop_price for leg in legs if told[leg.client_order_id].stop_price), None)
        quantity = told[legs[0].client_order_id].quantity
        held = began.book.positions.get(legs[0].symbol)
        if held is None:
            continue  # the legs of an entry that has not filled
        if target is None or stop is None or quantity != quantity.to_integral_value():
            left_out.append(f"{legs[0].symbol}: its resting exits are no whole pair; they do not work in the backtest")
            continue
        pairs.append(_pair(name, legs[0].symbol, quantity, target, stop))
    return pairs, left_out


def _pair(name: str, symbol: str, quantity: Decimal, target: Decimal, stop: Decimal) -> Order:
    return Order(
        client_order_id=name,
        symbol=symbol,
        side=Side.SELL,
        quantity=quantity,
        purpose=Purpose.EXIT,
        reason="protect",
        type=OrderType.LIMIT,
        time_in_force=TimeInForce.GTC,
        limit_price=target,
        take_profit_price=target,
        stop_loss_price=stop,
    )


def _plainly(amount: Decimal) -> str:
    return f"{amount:f}"


def _is_given(record: FillRecord, unmatched: Iterable[str]) -> bool:
    """Executions that no order of ours explains, and those that cannot be matched."""
    return record.fill.symbol in set(unmatched) or record.origin in (None, IntentOrigin.EXTERNAL)


def _covers(series: BarSeries, session: Session, now: datetime) -> bool:
    opens, end = int(session.opens_at.timestamp()), min(session.closes_at, now) - _LATE
    inside = series.known_at[(series.timestamp >= opens) & (series.timestamp < int(session.closes_at.timestamp()))]
    return len(inside) > 0 and int(inside[-1]) >= int(end.timestamp())
