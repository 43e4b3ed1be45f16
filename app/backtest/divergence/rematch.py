"""Orders of a live period before the matching rule once more: what the stored minutes would have made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from app.backtest.tape import MINUTE, Hours, SessionTape
from app.backtest.venue import BacktestVenue
from app.domain.bar import BarSeries, no_bars
from app.domain.instrument import Instrument
from app.domain.order import Order, Purpose, Side
from app.domain.portfolio import Portfolio
from app.engine.costs import CostModel
from app.engine.decision import LegMove
from app.engine.ledger import Execution, Ledger, book
from app.engine.path import MinutePath

_ZERO = Decimal(0)
Closing = tuple[datetime, Decimal]


class Sent(NamedTuple):
    """An order and when the venue accepted it."""

    order: Order
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one decision, or one process beside the cycles, did. is_cycle: entries of earlier steps are over then."""

    at: datetime
    sent: tuple[Sent, ...] = ()
    moves: tuple[LegMove, ...] = ()
    is_cycle: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where the period begins and what it is matched with. opening: the book at `opened_at`; resting: pairs of exits that were
    working then. given: executions that are taken as they are. costs: of every fill made here."""

    opened_at: datetime
    opening: Portfolio
    resting: tuple[Order, ...]
    tapes: tuple[SessionTape, ...]
    given: tuple[Execution, ...]
    instruments: Mapping[str, Instrument]
    costs: CostModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Rematched:
    """executions: in time order. closes: equity at each session's close."""

    executions: tuple[Execution, ...]
    closes: tuple[Closing, ...]


class _Kind(IntEnum):
    """In the order in which things of one instant happen."""

    GIVEN = 0
    RESTING = 1
    CLEAR = 2
    LEAVE = 3
    SEND = 4
    MOVE = 5


class _Event(NamedTuple):
    at: datetime
    kind: _Kind
    number: int
    what: Execution | Order | LegMove | str | None


def rematch(setting: Setting, steps: Iterable[Step]) -> Rematched:
    """The steps in time order on a venue of the backtest."""
    venue = BacktestVenue(cash=setting.opening.cash, costs=setting.costs, instruments=setting.instruments)
    venue.ledger = Ledger(portfolio=setting.opening)
    events = sorted(_events(setting, steps), key=lambda event: event[:3])
    executions: list[Execution] = []
    closes: list[Closing] = []
    position = 0
    for tape in setting.tapes:
        venue.open_session(tape)
        while position < len(events) and events[position].at < tape.hours.closes_at:
            event = events[position]
            executions += venue.advance(event.at)
            executions += _apply(venue, event)
            position += 1
        executions += venue.advance(tape.hours.closes_at)
        closes.append((tape.hours.closes_at, venue.close_session()))
    return Rematched(executions=tuple(executions), closes=tuple(closes))


def session_tapes(
    sessions: Sequence[Hours], symbols: Sequence[str], daily: Mapping[str, BarSeries], minutes: Mapping[str, BarSeries]
) -> tuple[SessionTape, ...]:
    """The sessions as the stored minute bars tell them; a minute without a bar is NaN and touches nothing."""
    tapes = []
    for hours in sessions:
        known = {symbol: daily.get(symbol, no_bars(symbol)).known_by(hours.opens_at) for symbol in symbols}
        paths = {symbol: path for symbol, series in minutes.items() if (path := _path(series, hours)) is not None}
        tapes.append(SessionTape(hours=hours, known=known, paths=paths))
    return tuple(tapes)


def minute_begun(at: datetime) -> datetime:
    """When the minute that ends at or holds `at` began: executions are stamped with the end of their minute, or inside it."""
    floor = at.replace(second=0, microsecond=0)
    return floor - MINUTE if floor == at else floor


def worth(executions: Iterable[Execution], opening: Portfolio, marks: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """By symbol: money received less money paid and commissions, plus what is held then at `marks`; account currency."""
    held = {symbol: position.quantity for symbol, position in opening.positions.items()}
    flows = dict.fromkeys(held, _ZERO)
    for execution in executions:
        fill = execution.fill
        signed = fill.quantity * fill.side.sign
        held[fill.symbol] = held.get(fill.symbol, _ZERO) + signed
        flows[fill.symbol] = flows.get(fill.symbol, _ZERO) - signed * fill.price - fill.commission
    return {symbol: flow + held[symbol] * marks.get(symbol, _ZERO) for symbol, flow in flows.items()}


def _events(setting: Setting, steps: Iterable[Step]) -> Iterable[_Event]:
    number = 0
    for order in setting.resting:
        yield _Event(setting.opened_at, _Kind.RESTING, (number := number + 1), order)
    for execution in setting.given:
        yield _Event(execution.fill.filled_at, _Kind.GIVEN, (number := number + 1), execution)
    for step in steps:
        if step.is_cycle:
            yield _Event(step.at, _Kind.CLEAR, (number := number + 1), None)
        leaving: dict[str, datetime] = {}
        for sent in step.sent:
            if sent.order.purpose is Purpose.EXIT:
                leaving[sent.order.symbol] = min(sent.at, leaving.get(sent.order.symbol, sent.at))
        for symbol, at in leaving.items():
            yield _Event(at, _Kind.LEAVE, (number := number + 1), symbol)
        for sent in step.sent:
            yield _Event(sent.at, _Kind.SEND, (number := number + 1), sent.order)
        for move in step.moves:
            yield _Event(step.at, _Kind.MOVE, (number := number + 1), move)


def _apply(venue: BacktestVenue, event: _Event) -> list[Execution]:
    what = event.what
    if isinstance(what, Execution):
        venue.ledger = book(venue.ledger, [what])
        return [what]
    if isinstance(what, Order):
        venue.submit(what, event.at)
    elif isinstance(what, LegMove):
        for leg in venue.open_orders():
            if leg.symbol == what.symbol and leg.protective and leg.stop_price is not None:
                venue.move_stop(leg.client_order_id, what.stop_price, event.at)
    elif event.kind is _Kind.CLEAR:
        for order in venue.open_orders():
            if order.side is Side.BUY and not order.protective:
                venue.cancel(order.client_order_id)
    else:
        for order in venue.open_orders():
            if order.symbol == what and order.protective:
                venue.cancel(order.client_order_id)
    return []


def _path(series: BarSeries, hours: Hours) -> MinutePath | None:
    opens, closes = int(hours.opens_at.timestamp()), int(hours.closes_at.timestamp())
    inside = (series.timestamp >= opens) & (series.timestamp < closes)
    if not inside.any():
        return None
    at = (series.timestamp[inside] - opens) // 60
    made = {}
    for name in MinutePath._fields:
        column = np.full((closes - opens) // 60, np.nan)
        column[at] = getattr(series, name)[inside]
        made[name] = column
    made["volume"] = np.nan_to_num(made["volume"])
    return MinutePath(**made)
