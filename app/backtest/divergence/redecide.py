"""Recorded decisions made once more, and which of what they rest on made a symbol's decision another one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from app.backtest.divergence.stored_market import Stored, StoredMarket, certainty_of, is_same, number_of
from app.domain.activity import Activity
from app.domain.exits import PositionPlan, standing
from app.domain.forecast import SleeveAnswers
from app.domain.order import Order, Side
from app.domain.portfolio import Portfolio, apply_activity
from app.domain.records import DecisionRecord, IntentRecord
from app.engine.decision import Book, Decision, SymbolRecord
from app.engine.ledger import Execution, Ledger, book, parts_taken, roll
from app.engine.recording import Inputs, from_json

_NUMBERS = ("price", "volatility", "expected_return", "confidence", "held_quantity")


class Cause(StrEnum):
    """Why live and backtest differ. data: bars or prices were other ones. signal: the forecast was. risk: state, limits or book
    were. fill: price, quantity or whether at all. fee: the commission. timing: the delay from the decision to the fill."""

    DATA = "data"
    SIGNAL = "signal"
    RISK = "risk"
    FILL = "fill"
    FEE = "fee"
    TIMING = "timing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not the same. is_decision: the decision on the symbol itself, else something it rests on, or what came
    of it. live, again: both readings, as text."""

    cause: Cause
    at: datetime
    cycle_id: str
    symbol: str
    what: str
    live: str
    again: str
    is_decision: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCycle:
    """A cycle that decided. recording: see `app.engine.recording`. rows: the decision as stored, by symbol. intents: the orders
    it committed."""

    cycle_id: str
    recording: Mapping[str, Any]
    rows: Mapping[str, DecisionRecord]
    intents: tuple[IntentRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A cycle, decided again. again: from stored bars, new forecasts and our own book. causes: of each symbol whose decision is
    another one. unjudged: symbols whose forecast could not be made anew, as their model has been replaced."""

    cycle: RecordedCycle
    inputs: Inputs
    again: Decision
    causes: Mapping[str, Cause] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    unjudged: int = 0


def redecide(
    cycles: Sequence[RecordedCycle], executions: Sequence[Execution], entries: Sequence[Activity], stored: Stored
) -> Iterator[Judged]:
    """Every cycle in time order. executions, entries: of the period and of the session before its first cycle, in time order.

    The book before the first cycle is the recorded one; from then on it is our own fold, and the venue's figures stay as
    recorded.
    """
    own: _Own | None = None
    bars = StoredMarket(stored)
    for cycle in cycles:
        inputs = from_json(dict(cycle.recording))
        own = own or _Own(inputs, executions, entries)
        yield _Case(cycle, inputs).judge(own, bars)


class _Case:
    """One cycle while it is judged. What it was decided from is exchanged step by step; the first step that changes a symbol's
    decision is its cause."""

    def __init__(self, cycle: RecordedCycle, inputs: Inputs) -> None:
        self._cycle = cycle
        self._inputs = inputs
        self._decision = _decide(inputs)
        self._causes: dict[str, Cause] = {}
        self._found: list[Difference] = []

    def judge(self, own: _Own, bars: StoredMarket) -> Judged:
        self._compare_rows()
        self._compare_orders()
        self._take_book(own.book(self._inputs))
        own.decided(self._decision)
        unjudged = self._take_market(bars)
        return Judged(
            cycle=self._cycle,
            inputs=self._inputs,
            again=self._decision,
            causes=self._causes,
            differences=tuple(self._found),
            unjudged=unjudged,
        )

    def _compare_rows(self) -> None:
        """The same inputs, the same decision; else the recording or the stored decision was changed, or the rules were."""
        for record in self._decision.records:
            row = self._cycle.rows.get(record.symbol)
            if row is None or _outcome(row) != _outcome(record):
                self._decided_otherwise(_cause(row, record), record.symbol, _told(row), _told(record))
            for name in _NUMBERS if row is not None else ():
                live, again = getattr(row, name), getattr(record, name)
                if not is_same(live, again):
                    self._note(_cause(row, record), record.symbol, f"recorded {name}", live, again)

    def _compare_orders(self) -> None:
        """The terms of the orders, where the decision on their symbol is the same."""
        stored = {intent.client_order_id: intent for intent in self._cycle.intents}
        for validated in self._decision.orders:
            order = validated.order
            intent = stored.get(order.client_order_id)
            committed = _terms(intent) if intent is not None else "no order was committed"
            if order.symbol not in self._causes and committed != _terms(order):
                self._decided_otherwise(Cause.RISK, order.symbol, committed, _terms(order))

    def _take_book(self, own: Book) -> None:
        recorded = self._inputs.book
        for subject, live, again in _book_differences(recorded, own):
            self._note(Cause.RISK, subject, "book", live, again)
        if own != recorded:
            self._again(replace(self._inputs, book=own), Cause.RISK)

    def _take_market(self, bars: StoredMarket) -> int:
        """New forecasts where their bars are the recorded ones, then everything that the stored bars say. Answers how many
        forecasts could not be made anew."""
        recorded = self._inputs.view
        now, changed = bars.view(recorded)
        for symbol, what, live, again in changed:
            self._note(Cause.DATA, symbol, what, live, again)
        stale = {symbol for symbol, *_ in changed}
        fresh, unjudged = bars.forecasts(recorded)
        for symbol, forecast in fresh.items():
            cause = Cause.DATA if symbol in stale else Cause.SIGNAL
            self._note(cause, symbol, "forecast", _said(recorded.forecasts[symbol]), _said(forecast))
        ours = {symbol: forecast for symbol, forecast in fresh.items() if symbol not in stale}
        if ours:
            view = replace(recorded, forecasts={**recorded.forecasts, **ours})
            self._again(replace(self._inputs, view=view), Cause.SIGNAL)
        if changed:
            view = replace(now, forecasts={**recorded.forecasts, **fresh})
            self._again(replace(self._inputs, view=view), Cause.DATA)
        return unjudged

    def _again(self, inputs: Inputs, cause: Cause) -> None:
        before = {record.symbol: record for record in self._decision.records}
        self._inputs, self._decision = inputs, _decide(inputs)
        for record in self._decision.records:
            if _outcome(record) != _outcome(before[record.symbol]):
                self._decided_otherwise(cause, record.symbol, _told(before[record.symbol]), _told(record))

    def _decided_otherwise(self, cause: Cause, symbol: str, live: str, again: str) -> None:
        if symbol not in self._causes:
            self._causes[symbol] = cause
            self._note(cause, symbol, "decision", live, again, is_decision=True)

    def _note(self, cause: Cause, symbol: str, what: str, live: object, again: object, *, is_decision: bool = False) -> None:
        one = Difference(
            cause=cause,
            at=self._inputs.view.decided_at,
            cycle_id=self._cycle.cycle_id,
            symbol=symbol,
            what=what,
            live=str(live),
            again=str(again),
            is_decision=is_decision,
        )
        self._found.append(one)


class _Own:
    """Our own book: a fold of executions and of the account's entries from the first recorded book on."""

    def __init__(self, first: Inputs, executions: Sequence[Execution], entries: Sequence[Activity]) -> None:
        began, session = first.view.decided_at, first.book.session
        earlier = [e for e in executions if e.fill.filled_at <= began]
        today = book(Ledger(portfolio=Portfolio(cash=Decimal(0)), session=session), earlier)
        opening = Portfolio(cash=first.book.cash, positions=dict(first.book.positions))
        self._ledger = replace(today, portfolio=opening)
        self._later = sorted(
            [(e.fill.filled_at, e.fill.execution_id, e) for e in executions if e.fill.filled_at > began]
            + [(e.at, e.activity_id, e) for e in entries if e.at > began],
            key=lambda each: each[:2],
        )
        self._decided: Decision | None = None
        self._plans: dict[str, PositionPlan] = {}

    def book(self, inputs: Inputs) -> Book:
        """As it stood at a decision. The risk state is what the decision before left, unless somebody changed it since."""
        recorded = inputs.book
        while self._later and self._later[0][0] <= inputs.view.decided_at:
            self._take(self._later.pop(0)[2])
        self._ledger = roll(self._ledger, recorded.session)
        if self._decided is None:
            return recorded
        held = {
            symbol: replace(p, opened_at=recorded.positions[symbol].opened_at if symbol in recorded.positions else p.opened_at)
            for symbol, p in self._ledger.portfolio.positions.items()
        }
        left = self._decided.risk
        return replace(
            recorded,
            cash=self._ledger.portfolio.cash,
            positions=held,
            progress={s: plan.progress for s, plan in standing(self._plans, held).items()},
            entries_today=self._ledger.entries_today,
            exits_today=self._ledger.exits_today,
            risk=recorded.risk if recorded.risk.epoch > left.epoch else left,
        )

    def decided(self, decision: Decision) -> None:
        """What the decision with our own book leaves behind is what the next one starts from."""
        self._decided, self._plans = decision, dict(decision.plans)

    def _take(self, one: Execution | Activity) -> None:
        if isinstance(one, Activity):
            self._ledger = replace(self._ledger, portfolio=apply_activity(self._ledger.portfolio, one))
            return
        # The UTC date of a New York session's fills is the session's own date.
        self._ledger = book(roll(self._ledger, one.fill.filled_at.date().isoformat()), [one])
        self._plans |= parts_taken(self._plans, one)


def _decide(inputs: Inputs) -> Decision:
    from app.engine.decide import decide  # the compiled rules weigh 100 MB: only who decides loads them

    return decide(inputs.view, inputs.book, inputs.context, inputs.limits, inputs.policy)


def _book_differences(recorded: Book, own: Book) -> Iterator[tuple[str, object, object]]:
    for name in ("cash", "entries_today", "exits_today", "risk", "progress"):
        if getattr(recorded, name) != getattr(own, name):
            yield name, getattr(recorded, name), getattr(own, name)
    for symbol in sorted({*own.positions, *recorded.positions}):
        if own.positions.get(symbol) != recorded.positions.get(symbol):
            yield symbol, recorded.positions.get(symbol), own.positions.get(symbol)


def _cause(row: DecisionRecord | None, record: SymbolRecord) -> Cause:
    """What a stored decision rests on that its recording says otherwise."""
    if row is None:
        return Cause.RISK
    if not (is_same(row.price, record.price) and is_same(row.volatility, record.volatility)):
        return Cause.DATA
    members = len(row.members) == len(record.members) and all(map(is_same, row.members, record.members))
    if not (members and is_same(row.expected_return, record.expected_return) and is_same(row.confidence, record.confidence)):
        return Cause.SIGNAL
    return Cause.RISK


def _outcome(one: DecisionRecord | SymbolRecord) -> tuple[object, ...]:
    reason = one.reason if isinstance(one, DecisionRecord) else one.reason.code
    return reason, one.side, one.quantity


def _told(one: DecisionRecord | SymbolRecord | None) -> str:
    if one is None:
        return "nothing was recorded"
    reason, side, quantity = _outcome(one)
    return f"{reason}: {side.value if isinstance(side, Side) else 'nothing'} {quantity or ''}".strip()


def _terms(order: Order | IntentRecord) -> str:
    parts = [f"{order.side.value} {order.quantity.normalize():f} {order.type.value}"]
    prices = {"limit": order.limit_price, "target": order.take_profit_price, "stop": order.stop_loss_price}
    parts += [f"{name} {price.normalize():f}" for name, price in prices.items() if price is not None]
    return ", ".join(parts)


def _said(forecast: Any) -> str:
    if isinstance(forecast, SleeveAnswers):
        return ", ".join(f"{name} {_said(one)}" for name, one in forecast.by_strategy.items())
    number, certainty = number_of(forecast), certainty_of(forecast)
    return getattr(forecast, "code", None) or f"{number:.6g}" + ("" if math.isnan(certainty) else f" with {certainty:.4g}")
