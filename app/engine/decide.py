"""The one decision of the product: what to do about every symbol, given the market, the book, the limits and the policy.

Pure: no clock, no I/O, no randomness. Live, paper, shadow and backtest call nothing else. The arithmetic is
`app.engine.rules`; this module turns arrays into Decimal orders, has them checked exactly, and explains each symbol.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np

from app.domain.errors import InvalidInput
from app.domain.forecast import Forecast, NoForecast
from app.domain.instrument import Instrument
from app.domain.order import Order, OrderType, Purpose, Side, TimeInForce, ValidatedOrder, client_order_id
from app.domain.reason import Reason
from app.domain.trading_state import RiskState, TradingState
from app.engine.decision import Book, Context, Decision, MarketView, SymbolRecord
from app.engine.rules import BUY, NOTHING, SELL, Holdings, Market, Money, Outcome, apply_rules
from app.risk.breakers import Cause, Standing
from app.risk.checks import Refusal, Room, validate
from app.risk.limits import Policy, RiskLimits
from app.risk.sizing import BOUNDS


def decide(view: MarketView, book: Book, context: Context, limits: RiskLimits, policy: Policy) -> Decision:
    """Orders, cancels, the next risk state and one record per symbol of `view`.

    Holdings in symbols that `view` does not list cannot be judged: they make the equity unreliable, which stops entries.
    """
    risk = _roll_session(book)
    market = _market(view, context)
    outcome = apply_rules(
        view.decided_at.timestamp(),
        _standing(risk),
        market,
        _holdings(view.symbols, book),
        _money(view, book, risk),
        limits,
        policy,
    )
    next_risk, alerts = _next_risk(risk, outcome.standing, view.decided_at)
    next_risk = next_risk if next_risk == book.risk else replace(next_risk, epoch=book.risk.epoch + 1)
    case = _Case(view=view, book=book, context=context, limits=limits, market=market, outcome=outcome)
    orders, refusals = _orders(case, next_risk.trading_state)
    return Decision(
        decided_at=view.decided_at,
        cancels=_cancels(book, orders, next_risk.trading_state),
        orders=orders,
        records=_records(case, orders, refusals),
        risk=next_risk,
        alerts=alerts,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One decision's inputs beside what the rules answered."""

    view: MarketView
    book: Book
    context: Context
    limits: RiskLimits
    market: Market
    outcome: Outcome


def expected_return_now(forecast: Forecast, price: float) -> float:
    """The daily forecast seen from the present price: target / price - 1, a fraction (decision 9)."""
    return forecast.target_price / price - 1.0 if price > 0.0 else math.nan


def _market(view: MarketView, context: Context) -> Market:
    n = len(view.symbols)
    expected, confidence = np.full(n, np.nan), np.full(n, np.nan)
    for i, symbol in enumerate(view.symbols):
        forecast = view.forecasts.get(symbol)
        if isinstance(forecast, Forecast):
            expected[i] = expected_return_now(forecast, float(view.price[i]))
            confidence[i] = forecast.confidence
    rules = [context.instruments.get(symbol) for symbol in view.symbols]
    known = np.array([1.0 if rule is not None and rule.tradable else 0.0 for rule in rules])
    return Market(
        price=view.price,
        age_seconds=view.age_seconds,
        volatility=view.volatility,
        tradable=view.tradable * known,
        expected_return=expected,
        confidence=confidence,
        step=np.array([float(rule.quantity_step) if rule else 1.0 for rule in rules]),
        minimum_notional=np.array([float(rule.minimum_notional) if rule else 1.0 for rule in rules]),
    )


def _holdings(symbols: Sequence[str], book: Book) -> Holdings:
    at = {symbol: i for i, symbol in enumerate(symbols)}
    columns = {name: np.zeros(len(symbols)) for name in Holdings._fields}
    for symbol, position in book.positions.items():
        if symbol in at:
            columns["quantity"][at[symbol]] = float(position.quantity)
            columns["entry"][at[symbol]] = float(position.average_entry_price)
    for order in book.open_orders:
        i = at.get(order.symbol)
        if i is None or order.protective:
            continue
        if order.purpose is Purpose.ENTRY:
            columns["pending_buy"][i] += float(order.quantity)
            columns["pending_price"][i] = max(columns["pending_price"][i], float(order.price or 0))
        else:
            columns["pending_exit"][i] = 1.0
    for name, counts in (("entries_today", book.entries_today), ("exits_today", book.exits_today)):
        for symbol, count in counts.items():
            if symbol in at:
                columns[name][at[symbol]] = count
    return Holdings(**columns)


def _money(view: MarketView, book: Book, risk: RiskState) -> Money:
    unjudged = set(book.positions) - set(view.symbols)
    return Money(
        cash=float(book.cash),
        equity=math.nan if unjudged or not book.reconciled else float(book.equity),
        baseline=float(risk.baseline_equity),
        buying_power=float(book.buying_power),
    )


def _roll_session(book: Book) -> RiskState:
    """Take the daily-loss baseline once per session; a reading that cannot be one keeps the old baseline."""
    if book.session == book.risk.baseline_session or not _is_amount(book.previous_close_equity):
        return book.risk
    return replace(book.risk, baseline_session=book.session, baseline_equity=book.previous_close_equity)


def _is_amount(money: Decimal) -> bool:
    return money.is_finite() and money > 0


def _standing(risk: RiskState) -> Standing:
    causes = {cause.code: int(cause) for cause in Cause}
    return Standing(
        state=int(risk.trading_state),
        cause=causes.get(risk.cause, int(Cause.OPERATOR)),
        until=risk.until.timestamp() if risk.until else math.nan,
        suspected_at=risk.suspected_at.timestamp() if risk.suspected_at else math.nan,
        high_water=float(risk.high_water_equity),
    )


def _next_risk(risk: RiskState, standing: Standing, now: datetime) -> tuple[RiskState, tuple[str, ...]]:
    """The risk state after the breakers; only what changed is rewritten, so that exact amounts stay exact."""
    changed = standing.state != int(risk.trading_state) or Cause(standing.cause).code != _known_cause(risk.cause)
    alerts: tuple[str, ...] = ()
    following = replace(
        risk,
        suspected_at=_instant(standing.suspected_at),
        high_water_equity=(
            risk.high_water_equity
            if standing.high_water == float(risk.high_water_equity)
            else Decimal(repr(float(standing.high_water)))
        ),
    )
    if changed:
        state, cause = TradingState(standing.state), Cause(standing.cause)
        until = _instant(standing.until)
        following = replace(following, trading_state=state, cause=cause.code, actor="system", since=now, until=until)
        ends = f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""
        alerts = (f"Trading state {risk.trading_state.name} -> {state.name}{ends}: {cause.code}",)
    return following, alerts


def _known_cause(cause: str) -> str:
    return cause if cause in {c.code for c in Cause} else Cause.OPERATOR.code


def _instant(seconds: float) -> datetime | None:
    return None if math.isnan(seconds) else datetime.fromtimestamp(seconds, UTC)


def _orders(case: _Case, state: TradingState) -> tuple[tuple[ValidatedOrder, ...], dict[str, Refusal]]:
    """Exits first, then entries by rank, each checked exactly against the room the ones before it left."""
    room = _room(case.view, case.book, state)
    refusals: dict[str, Refusal] = {}
    orders: list[ValidatedOrder] = []
    action, rank = case.outcome.action, case.market.expected_return
    for i in sorted(np.flatnonzero(action != NOTHING).tolist(), key=lambda i: (action[i] == BUY, -rank[i])):
        symbol = case.view.symbols[i]
        instrument = case.context.instruments.get(symbol)
        if instrument is None:
            refusals[symbol] = Refusal("instrument", "the venue does not list this symbol")
            continue
        try:
            order = _exit(case, i) if action[i] == SELL else _entry(case, i, instrument)
        except InvalidInput as fault:  # a price below the smallest tick, a size beyond Decimal's reach
            refusals[symbol] = Refusal("order_terms", fault.message)
            continue
        checked = validate(order, instrument, room, case.limits)
        if isinstance(checked, Refusal):
            refusals[symbol] = checked
        else:
            validated, room = checked
            orders.append(validated)
    return tuple(orders), refusals


def _exit(case: _Case, i: int) -> Order:
    symbol = case.view.symbols[i]
    return Order(
        client_order_id=_identity(case, symbol, Side.SELL, Purpose.EXIT),
        symbol=symbol,
        side=Side.SELL,
        quantity=case.book.positions[symbol].quantity,
        purpose=Purpose.EXIT,
        reason=Reason(int(case.outcome.reason[i])).code,
    )


def _entry(case: _Case, i: int, instrument: Instrument) -> Order:
    symbol, limits = case.view.symbols[i], case.limits
    price = Decimal(repr(float(case.view.price[i])))
    return Order(
        client_order_id=_identity(case, symbol, Side.BUY, Purpose.ENTRY),
        symbol=symbol,
        side=Side.BUY,
        quantity=instrument.quantity_down(float(case.outcome.quantity[i])),
        purpose=Purpose.ENTRY,
        reason=Reason(int(case.outcome.reason[i])).code,
        type=OrderType.LIMIT,
        # Good till cancelled, because the protective legs inherit it and must outlive the day; an entry that has not
        # filled by the next cycle is cancelled by that cycle's decision.
        time_in_force=TimeInForce.GTC,
        limit_price=instrument.price_down(price * (1 + _exact(limits.price_collar_fraction))),
        take_profit_price=instrument.price_up(price * (1 + _exact(limits.take_profit_fraction))),
        stop_loss_price=instrument.price_up(price * (1 - _exact(limits.stop_loss_fraction))),
    )


def _identity(case: _Case, symbol: str, side: Side, purpose: Purpose) -> str:
    context = case.context
    return client_order_id(
        account=context.account_id,
        strategy=context.strategy,
        decided_for=context.cycle_id,
        symbol=symbol,
        side=side,
        purpose=purpose,
    )


def _room(view: MarketView, book: Book, state: TradingState) -> Room:
    prices = {s: Decimal(repr(float(p))) for s, p in zip(view.symbols, view.price, strict=True) if math.isfinite(p)}
    held_value = sum((p.quantity * prices.get(s, p.average_entry_price) for s, p in book.positions.items()), Decimal(0))
    entries = [o for o in book.open_orders if o.purpose is Purpose.ENTRY]
    open_value = sum((o.quantity * (o.price or prices.get(o.symbol, Decimal(0))) for o in entries), Decimal(0))
    # An amount that is no number leaves no room at all.
    known = all(amount.is_finite() for amount in (book.equity, book.cash, book.buying_power, held_value))
    return Room(
        state=state,
        equity=min(book.equity, book.cash + held_value) if known else Decimal(0),
        gross_value=held_value + open_value,
        buying_power=min(book.buying_power, book.cash) if known else Decimal(0),
        positions=frozenset(book.positions) | {o.symbol for o in entries},
        held={s: p.quantity for s, p in book.positions.items()},
    )


def _cancels(book: Book, orders: tuple[ValidatedOrder, ...], state: TradingState) -> tuple[str, ...]:
    """Entries whose slot is over (all of them where entries are forbidden), and the protective legs that hold the units an
    exit is about to sell."""
    leaving = {validated.order.symbol for validated in orders if validated.order.purpose is Purpose.EXIT}
    return tuple(
        order.client_order_id
        for order in book.open_orders
        if order.at_venue
        and not order.external
        and (
            (order.purpose is Purpose.ENTRY and (order.stale or state is not TradingState.ACTIVE))
            or (order.protective and order.symbol in leaving)
        )
    )


def _records(case: _Case, orders: tuple[ValidatedOrder, ...], refusals: dict[str, Refusal]) -> tuple[SymbolRecord, ...]:
    sent = {validated.order.symbol: validated.order for validated in orders}
    return tuple(_record(case, i, sent.get(symbol), refusals.get(symbol)) for i, symbol in enumerate(case.view.symbols))


def _record(case: _Case, i: int, order: Order | None, refusal: Refusal | None) -> SymbolRecord:
    symbol, outcome = case.view.symbols[i], case.outcome
    forecast = case.view.forecasts.get(symbol)
    position = case.book.positions.get(symbol)
    sized = outcome.bound[i] >= 0
    return SymbolRecord(
        symbol=symbol,
        reason=Reason(int(outcome.reason[i])) if refusal is None else Reason.EXACT_CHECK,
        price=float(case.view.price[i]),
        expected_return=float(case.market.expected_return[i]),
        confidence=float(case.market.confidence[i]),
        volatility=float(case.view.volatility[i]),
        members=forecast.members if isinstance(forecast, Forecast) else (),
        held_quantity=position.quantity if position else Decimal(0),
        side=order.side if order else None,
        quantity=order.quantity if order else None,
        sizing={name: float(units) for name, units in zip(BOUNDS, outcome.bounds[i], strict=True)} if sized else {},
        sizing_bound=BOUNDS[int(outcome.bound[i])] if sized else None,
        detail=_detail(case, i, refusal),
    )


def _detail(case: _Case, i: int, refusal: Refusal | None) -> str:
    if refusal is not None:
        return f"{refusal.rule}: {refusal.detail}"
    if case.outcome.replaces[i] >= 0:
        return f"replaces {case.view.symbols[int(case.outcome.replaces[i])]}"
    forecast = case.view.forecasts.get(case.view.symbols[i])
    if case.outcome.reason[i] == Reason.NO_FORECAST and isinstance(forecast, NoForecast):
        return f"{forecast.code}: {forecast.detail}"
    return ""


def _exact(fraction: float) -> Decimal:
    return Decimal(repr(fraction))
