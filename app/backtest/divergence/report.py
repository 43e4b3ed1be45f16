"""Live beside backtest: a recorded period decided again and matched again, every difference with its cause and its money.

Each recorded decision is made once more, step by step: from what was recorded (the same inputs must give the same decision),
with the book as our own fills make it, with the forecasts made anew, and with the bars as they are stored now. The first step
that changes a symbol's decision is the cause: risk, signal or data. The orders are matched again with the stored minutes; what
came out otherwise is a fill, a fee, or timing (the delay from the decision to the fill).

The money: six portfolios lie between the live account and the backtest, each with one more cause taken away, all valued at the
same closing prices. What two neighbours differ by belongs to the cause between them; so the amounts add up to the whole gap.

live          executions as they were
less fee      at the commissions of the cost model
less fill     at the price, and in the quantity, that matching gives an order that is accepted when its live fill's minute began
less timing   accepted when it was decided; orders that were decided and expired unsent included
less risk     orders that the same inputs and our own book give; those refused between decision and venue included
less signal   orders that the forecasts made anew give
less data     orders that the stored bars give: the backtest
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

import numpy as np

from app.backtest.divergence.redecide import Cause, Difference, Judged
from app.backtest.divergence.rematch import Sent, Setting, Step, minute_begun, rematch, worth
from app.backtest.tape import SessionTape
from app.backtest.venue import PROFIT, STOP, leg_id
from app.domain.order import OrderClass, Purpose, Side
from app.domain.order_state import OrderState
from app.domain.records import FillRecord, IntentOrigin, IntentRecord
from app.engine.costs import CostModel
from app.engine.ledger import Execution

_ZERO = Decimal(0)
LADDER = (Cause.FEE, Cause.FILL, Cause.TIMING, Cause.RISK, Cause.SIGNAL, Cause.DATA)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """What live trading left behind. fills: after the first decision, in time order. intents: every order of the period, by
    client order id. beside: orders of ours that no cycle made. unmatched: symbols taken as they were, as there are no minutes
    to match them with."""

    judged: Sequence[Judged]
    fills: Sequence[FillRecord]
    intents: Mapping[str, IntentRecord]
    beside: Sequence[IntentRecord]
    setting: Setting
    unmatched: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One session: return of the account as it was and as the backtest makes it, fractions; from the same valuation."""

    closes_at: datetime
    live: float
    backtest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """live_gain, backtest_gain: of the account over the period, at the same closing prices. amounts: what each cause is
    responsible for, by symbol; their sum is live_gain - backtest_gain, to the cent and beyond. correlation: of the two daily
    return curves, None below three sessions or where one of them does not move."""

    cycles: int
    decisions: int
    differences: tuple[Difference, ...]
    live_gain: Decimal
    backtest_gain: Decimal
    amounts: Mapping[Cause, Mapping[str, Decimal]]
    days: tuple[Day, ...]
    correlation: float | None
    unjudged_forecasts: int
    unmatched: tuple[str, ...]

    @property
    def differing_decisions(self) -> int:
        """Symbols, times cycles, that were decided otherwise. Must be zero."""
        return sum(one.is_decision for one in self.differences)

    @property
    def gap(self) -> Decimal:
        """Live less backtest, account currency."""
        return self.live_gain - self.backtest_gain

    def amount(self, cause: Cause) -> Decimal:
        """What one cause is responsible for, account currency."""
        return sum(self.amounts[cause].values(), _ZERO)


def compare(period: Period) -> Divergence:
    """Live beside backtest. The judged cycles, the fills and the sessions are in time order."""
    costs = period.setting.costs
    setting = replace(period.setting, given=tuple(_at_model_costs(one, costs) for one in period.setting.given))
    live = [execution_of(record) for record in period.fills]
    charged = [_at_model_costs(execution, costs) for execution in live]
    runs = {cause: rematch(setting, _steps(period, cause)) for cause in LADDER[1:]}
    ladder = [live, charged, *(runs[cause].executions for cause in LADDER[1:])]
    marks = closing_prices(setting.tapes, _symbols(period))
    values = [worth(executions, setting.opening, marks) for executions in ladder]
    began = worth([], setting.opening, _opening_prices(period))
    amounts = {cause: _less(values[i], values[i + 1]) for i, cause in enumerate(LADDER)}
    days = _days(setting, live, ladder[-1], _start_equity(period))
    orders = _order_differences(period, charged, runs[Cause.FILL].executions, runs[Cause.TIMING].executions)
    return Divergence(
        cycles=len(period.judged),
        decisions=sum(len(one.again.records) for one in period.judged),
        differences=(*(d for one in period.judged for d in one.differences), *_unsent(period), *orders),
        live_gain=_total(values[0]) - _total(began),
        backtest_gain=_total(values[-1]) - _total(began),
        amounts=amounts,
        days=days,
        correlation=correlation(days),
        unjudged_forecasts=sum(one.unjudged for one in period.judged),
        unmatched=tuple(sorted(period.unmatched)),
    )


def correlation(days: Sequence[Day]) -> float | None:
    """Pearson's, of the two daily return curves."""
    live, again = np.array([day.live for day in days]), np.array([day.backtest for day in days])
    if len(days) < 3 or not (np.std(live) > 0.0 and np.std(again) > 0.0):
        return None
    return float(np.corrcoef(live, again)[0, 1])


def closing_prices(tapes: Sequence[SessionTape], symbols: Iterable[str]) -> dict[str, Decimal]:
    """The newest price of each symbol at the last close; zero where there never was one."""
    marks = {}
    for symbol in symbols:
        price = tapes[-1].snapshot(symbol, tapes[-1].hours.closes_at).price
        marks[symbol] = Decimal(repr(price)) if price > 0 else _ZERO
    return marks


def _steps(period: Period, level: Cause) -> list[Step]:
    """What is sent at one rung of the ladder: live's own orders, or those decided again where the cause is taken away."""
    rung = LADDER.index(level)
    taken = {cause for cause in (Cause.RISK, Cause.SIGNAL, Cause.DATA) if LADDER.index(cause) <= rung}
    began = {} if rung >= LADDER.index(Cause.TIMING) else _first_fills(period)
    steps = []
    for one in period.judged:
        at = one.again.decided_at
        anew = {symbol for symbol, cause in one.causes.items() if cause in taken}
        kept = [intent for intent in one.cycle.intents if intent.symbol not in anew and _is_carried_out(intent, rung)]
        orders = [intent.order() for intent in kept] + [v.order for v in one.again.orders if v.order.symbol in anew]
        sent = [Sent(o, max(at, began.get(o.client_order_id, at))) for o in orders if o.symbol not in period.unmatched]
        moves = tuple(move for move in one.again.moves if move.symbol not in period.unmatched)
        steps.append(Step(at=at, sent=tuple(sent), moves=moves))
    for intent in period.beside:
        at = began.get(intent.client_order_id) or intent.sent_at or intent.created_at
        if intent.venue_order_id is not None and intent.symbol not in period.unmatched:
            steps.append(Step(at=at, sent=(Sent(intent.order(), at),), is_cycle=False))
    return sorted(steps, key=lambda step: step.at)


def _is_carried_out(intent: IntentRecord, rung: int) -> bool:
    """Whether an order counts: those that reached the venue always, one that expired before as timing, one that was refused
    before as risk."""
    if intent.venue_order_id is not None:
        return True
    return rung >= LADDER.index(Cause.TIMING if intent.state is OrderState.EXPIRED else Cause.RISK)


def _unsent(period: Period) -> list[Difference]:
    found = []
    for one in period.judged:
        for intent in one.cycle.intents:
            if intent.venue_order_id is None:
                cause = Cause.TIMING if intent.state is OrderState.EXPIRED else Cause.RISK
                why = f"{intent.state.value}, never at the venue{f': {intent.error}' if intent.error else ''}"
                found.append(_difference(cause, one.again.decided_at, one.cycle.cycle_id, intent.symbol, "order", why, "sent"))
    return found


def _first_fills(period: Period) -> dict[str, datetime]:
    """When the minute of an order's first execution began."""
    found: dict[str, datetime] = {}
    for record in period.fills:
        if record.client_order_id is not None:
            found.setdefault(record.client_order_id, minute_begun(record.fill.filled_at))
    return found


@dataclass(slots=True)
class _Filled:
    """What came of one order. last: when the minute of its last execution began."""

    symbol: str
    quantity: Decimal = _ZERO
    value: Decimal = _ZERO
    commission: Decimal = _ZERO
    last: datetime | None = None

    def add(self, execution: Execution) -> None:
        fill = execution.fill
        self.quantity += fill.quantity
        self.value += fill.quantity * fill.price
        self.commission += fill.commission
        self.last = minute_begun(fill.filled_at)

    def __str__(self) -> str:
        if self.last is None:
            return "not filled"
        return f"{self.quantity.normalize():f} at {self.value / self.quantity:.6g}, {self.last:%m-%d %H:%M}"


def _order_differences(
    period: Period, charged: Sequence[Execution], filled: Sequence[Execution], prompt: Sequence[Execution]
) -> list[Difference]:
    """Order by order: what was filled, what matching fills in the same minute, and what it fills without the delay."""
    live = _by_order(period, [execution_of(record) for record in period.fills])
    model, same, early = _by_order(period, charged), _by_order(period, filled), _by_order(period, prompt)
    cycles = {intent.client_order_id: intent.cycle_id or "" for intent in period.intents.values()}
    found = []
    for name in dict.fromkeys([*live, *same, *early]):
        symbol = next(each[name].symbol for each in (live, same, early) if name in each)
        if symbol in period.unmatched:
            continue
        was, again, soon = (each.get(name, _Filled(symbol)) for each in (live, same, early))
        at = was.last or again.last or soon.last or period.setting.opened_at
        where = (at, cycles.get(_family(name), ""), symbol)
        if was.commission != model.get(name, was).commission:
            found.append(_difference(Cause.FEE, *where, "commission", was.commission, model[name].commission))
        if (was.quantity, was.value) != (again.quantity, again.value):
            found.append(_difference(Cause.FILL, *where, "fill", was, again))
        elif was.last != again.last:
            found.append(_difference(Cause.TIMING, *where, "fill", was, again))
        if (again.quantity, again.value, again.last) != (soon.quantity, soon.value, soon.last):
            found.append(_difference(Cause.TIMING, *where, "fill without the delay", again, soon))
    return found


def _by_order(period: Period, executions: Iterable[Execution]) -> dict[str, _Filled]:
    found: dict[str, _Filled] = {}
    for execution in executions:
        name = _venue_name(period, execution.client_order_id)
        found.setdefault(name, _Filled(execution.fill.symbol)).add(execution)
    return found


def _venue_name(period: Period, client_order_id: str) -> str:
    """The id that the backtest's venue gives an order of live: protective legs are named by their entry there."""
    intent = period.intents.get(client_order_id)
    if intent is None:
        return client_order_id
    if intent.origin is IntentOrigin.LEG and intent.parent_id is not None:
        return leg_id(intent.parent_id, PROFIT if intent.stop_price is None else STOP)
    if intent.origin is IntentOrigin.DECISION and intent.order().order_class is OrderClass.OCO:
        return leg_id(client_order_id, PROFIT)
    return client_order_id


def _family(name: str) -> str:
    return name.removesuffix(f"-{PROFIT}").removesuffix(f"-{STOP}")


def _days(setting: Setting, live: Sequence[Execution], again: Sequence[Execution], start: Decimal) -> tuple[Day, ...]:
    symbols = {e.fill.symbol for e in (*live, *again)} | set(setting.opening.positions)
    days, before = [], (start, start)
    for number, tape in enumerate(setting.tapes, start=1):
        marks, end = closing_prices(setting.tapes[:number], symbols), tape.hours.closes_at
        done = [[e for e in executions if e.fill.filled_at <= end] for executions in (live, again)]
        now = tuple(setting.opening.cash + _total(worth(part, setting.opening, marks)) for part in done)
        returns = [float(value / earlier - 1) if earlier > 0 else 0.0 for value, earlier in zip(now, before, strict=True)]
        days.append(Day(closes_at=end, live=returns[0], backtest=returns[1]))
        before = (now[0], now[1])
    return tuple(days)


def _start_equity(period: Period) -> Decimal:
    return period.setting.opening.cash + _total(worth([], period.setting.opening, _opening_prices(period)))


def _opening_prices(period: Period) -> dict[str, Decimal]:
    """Of the holdings at the first decision: the prices it saw, else what they cost."""
    if not period.judged:
        return {}
    view = period.judged[0].inputs.view
    prices = {s: Decimal(repr(p)) for s, p in zip(view.symbols, view.price.tolist(), strict=True) if p > 0.0}
    held = period.setting.opening.positions
    return {symbol: prices.get(symbol, position.average_entry_price) for symbol, position in held.items()}


def _symbols(period: Period) -> set[str]:
    found = {record.fill.symbol for record in period.fills} | set(period.setting.opening.positions)
    return found | {symbol for one in period.judged for symbol in one.inputs.view.symbols}


def execution_of(record: FillRecord) -> Execution:
    """The execution with the order behind it; of an order we do not know, a buy counts as an entry."""
    purpose = record.purpose or (Purpose.ENTRY if record.fill.side is Side.BUY else Purpose.EXIT)
    name = record.client_order_id or record.fill.venue_order_id
    return Execution(fill=record.fill, client_order_id=name, purpose=purpose, reason=record.reason or "")


def _at_model_costs(execution: Execution, costs: CostModel) -> Execution:
    fill = execution.fill
    return replace(execution, fill=replace(fill, commission=costs.commission(fill.quantity, fill.price)))


def _less(one: Mapping[str, Decimal], other: Mapping[str, Decimal]) -> dict[str, Decimal]:
    symbols = sorted({*one, *other})
    return {s: amount for s in symbols if (amount := one.get(s, _ZERO) - other.get(s, _ZERO))}


def _total(amounts: Mapping[str, Decimal]) -> Decimal:
    return sum(amounts.values(), _ZERO)


def _difference(cause: Cause, at: datetime, cycle_id: str, symbol: str, what: str, live: object, again: object) -> Difference:
    return Difference(cause=cause, at=at, cycle_id=cycle_id, symbol=symbol, what=what, live=str(live), again=str(again))
