"""From the rules' answer to orders: exact terms, the exact last check, and what has to be cancelled before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

import numpy as np

from app.domain.errors import InvalidInput
from app.domain.instrument import Instrument
from app.domain.order import Order, OrderType, Purpose, Side, TimeInForce, ValidatedOrder, client_order_id
from app.domain.reason import Reason
from app.domain.trading_state import TradingState
from app.engine.case import Case
from app.engine.decision import Book, MarketView
from app.engine.holdings import pair
from app.engine.rules import BUY, NOTHING, SELL
from app.risk.checks import Refusal, Room, validate
from app.risk.limits import RiskLimits


def write_orders(case: Case, state: TradingState) -> tuple[tuple[ValidatedOrder, ...], dict[str, Refusal]]:
    """Exits first, then entries by rank, each checked exactly against the room the ones before it left."""
    room = _room(case.view, case.book, state, case.limits)
    budgets = _budgets(case, room)
    refusals: dict[str, Refusal] = {}
    orders: list[ValidatedOrder] = []
    action, heard = case.outcome.action, case.outcome.heard
    for i in sorted(
        np.flatnonzero(action != NOTHING).tolist(),
        key=lambda i: (action[i] == BUY, heard.sleeve[i] if action[i] == BUY else 0, -heard.expected_return[i]),
    ):
        symbol = case.view.symbols[i]
        instrument = case.context.instruments.get(symbol)
        if instrument is None:
            refusals[symbol] = Refusal("instrument", "the venue does not list this symbol")
            continue
        try:
            wanted = _exits(case, i, instrument) if action[i] == SELL else [_entry(case, i, instrument)]
        except InvalidInput as fault:  # a price below the smallest tick, a size beyond Decimal's reach
            refusals[symbol] = Refusal("order_terms", fault.message)
            continue
        for order in wanted:
            checked = _over_budget(case, i, order, budgets) or validate(order, instrument, room, case.limits)
            if isinstance(checked, Refusal):
                refusals[symbol] = checked
            else:
                validated, room = checked
                orders.append(validated)
                if order.purpose is Purpose.ENTRY:
                    budgets[case.sleeve(i).strategy] -= order.quantity * (order.limit_price or Decimal(0))
    return tuple(orders), refusals


def _budgets(case: Case, room: Room) -> dict[str, Decimal]:
    """What is left of the budget of each sleeve, besides its holdings and its open entries at their worst price; infinite where
    one has the whole account."""
    if len(case.sleeves) == 1 and case.sleeves[0].budget_fraction >= 1.0:
        return {case.sleeves[0].strategy: Decimal("Infinity")}
    budgets = {one.strategy: _exact(one.budget_fraction) * room.equity for one in case.sleeves}
    prices = {s: Decimal(repr(float(p))) for s, p in zip(case.view.symbols, case.view.price, strict=True) if math.isfinite(p)}
    used = [(p.symbol, abs(p.quantity) * prices.get(p.symbol, p.average_entry_price)) for p in case.book.positions.values()]
    used += [
        (o.symbol, o.quantity * (o.price or prices.get(o.symbol, Decimal(0))))
        for o in case.book.open_orders
        if o.purpose is Purpose.ENTRY
    ]
    for symbol, value in used:
        owner = case.book.owners.get(symbol, "")
        budgets[owner if owner in budgets else case.sleeves[0].strategy] -= value
    return budgets


def _over_budget(case: Case, i: int, order: Order, budgets: Mapping[str, Decimal]) -> Refusal | None:
    left = budgets[case.sleeve(i).strategy]
    if order.purpose is not Purpose.ENTRY or order.quantity * (order.limit_price or Decimal("Infinity")) <= left:
        return None
    return Refusal("sleeve_budget", f"{order.quantity} at {order.limit_price} of {left}")


def _exits(case: Case, i: int, instrument: Instrument) -> list[Order]:
    """The whole holding, or a part of it behind the pair of exits that covers the rest from then on."""
    if case.outcome.reason[i] != Reason.PARTIAL_PROFIT:
        return [_exit(case, i, _sellable(case.book, case.view.symbols[i]))]
    part = instrument.quantity_down(float(case.outcome.quantity[i]))
    cover = pair(case, i, instrument, part)
    return [*([cover] if cover else []), _exit(case, i, part)]


def _exit(case: Case, i: int, quantity: Decimal) -> Order:
    symbol = case.view.symbols[i]
    return Order(
        client_order_id=_identity(case, i, Side.SELL, Purpose.EXIT),
        symbol=symbol,
        side=Side.SELL,
        quantity=quantity,
        purpose=Purpose.EXIT,
        reason=Reason(int(case.outcome.reason[i])).code,
    )


def _sellable(book: Book, symbol: str) -> Decimal:
    """Units held that no order of a person is selling."""
    sold = [one.quantity for one in book.open_orders if one.external and one.symbol == symbol and one.side is Side.SELL]
    return book.positions[symbol].quantity - sum(sold, Decimal(0))


def _entry(case: Case, i: int, instrument: Instrument) -> Order:
    symbol, limits, exits = case.view.symbols[i], case.limits, case.sleeve(i).policy.exits
    price = Decimal(repr(float(case.view.price[i])))
    return Order(
        client_order_id=_identity(case, i, Side.BUY, Purpose.ENTRY),
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
        take_profit_price=instrument.price_up(price * (1 + _exact(exits.take_profit_fraction))),
        stop_loss_price=instrument.price_up(_first_stop(case, i, price)),
    )


def _first_stop(case: Case, i: int, price: Decimal) -> Decimal:
    """The stop of an entry at `price`, not rounded."""
    exits = case.sleeve(i).policy.exits
    stop = price * (1 - _exact(exits.stop_loss_fraction))
    multiple, atr = exits.atr_stop_multiple, float(case.market.atr[i])
    if not (multiple > 0.0 and 0.0 < atr < math.inf):
        return stop
    # Twelve digits: what rounding left behind them must not lift a stop by a tick.
    return max(stop, price - _exact(multiple) * Decimal(f"{atr:.12g}"))


def _identity(case: Case, i: int, side: Side, purpose: Purpose) -> str:
    return client_order_id(
        account=case.context.account_id,
        strategy=case.sleeve(i).strategy,
        decided_for=case.context.cycle_id,
        symbol=case.view.symbols[i],
        side=side,
        purpose=purpose,
    )


def _room(view: MarketView, book: Book, state: TradingState, limits: RiskLimits) -> Room:
    limit = limits.max_price_age_seconds
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
        prices={s: prices[s] for s, age in zip(view.symbols, view.age_seconds, strict=True) if s in prices and age <= limit},
    )


def cancels(book: Book, orders: tuple[ValidatedOrder, ...], state: TradingState) -> tuple[str, ...]:
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


def _exact(fraction: float) -> Decimal:
    return Decimal(repr(fraction))
