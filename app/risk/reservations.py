"""What is taken already: holdings, and every order that may still fill, at the worst price it may pay.

Nothing is stored: an order reserves what it may still do from its commit until it has ended and all its executions are
booked, so no crash can leak a reservation and no report can free one before the holding shows it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal

from app.domain.order import Side
from app.domain.portfolio import Portfolio
from app.domain.trading_state import TradingState
from app.risk.checks import Room
from app.risk.limits import RiskLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a commit is measured against besides the books: the venue's equity and buying power and the prices (currency per
    unit) as the decision saw them, and the limits."""

    equity: Decimal
    buying_power: Decimal
    prices: Mapping[str, Decimal]
    limits: RiskLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What one order may still do. quantity: units not yet booked. price: the most a buy may pay, None if unbounded.
    group: orders of which only one can fill share it. at_venue: the venue's buying power takes it into account."""

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal | None
    group: str
    at_venue: bool


def room_left(
    capacity: Capacity,
    state: TradingState,
    portfolio: Portfolio,
    reservations: Collection[Reservation],
    *,
    releasing: Collection[str] = (),
) -> Room:
    """The room for one more order. releasing: sells that are cancelled before any of the new orders is sent.

    A price nobody knows makes the amount not-a-number, and every comparison with that refuses."""
    buys = [one for one in reservations if one.side is Side.BUY]
    worst = {one.client_order_id: one.quantity * _worst_price(one, capacity) for one in buys}
    on_order = sum(worst.values(), Decimal(0))
    in_flight = sum((worst[one.client_order_id] for one in buys if not one.at_venue), Decimal(0))
    held_value = sum(
        (
            abs(held.quantity) * capacity.prices.get(symbol, held.average_entry_price)
            for symbol, held in portfolio.positions.items()
        ),
        Decimal(0),
    )
    amounts = (capacity.equity, capacity.buying_power, portfolio.cash, held_value, on_order)
    known = all(amount.is_finite() for amount in amounts)
    return Room(
        state=state,
        equity=min(capacity.equity, portfolio.cash + held_value) if known else Decimal(0),
        gross_value=held_value + on_order if known else Decimal(0),
        buying_power=min(capacity.buying_power - in_flight, portfolio.cash - on_order) if known else Decimal(0),
        positions=frozenset(portfolio.positions) | {one.symbol for one in buys},
        held=unreserved(portfolio, [one for one in reservations if one.client_order_id not in releasing]),
    )


def unreserved(portfolio: Portfolio, reservations: Collection[Reservation]) -> dict[str, Decimal]:
    """Units of each holding that no other order may sell."""
    groups: dict[tuple[str, str], Decimal] = {}
    for one in reservations:
        if one.side is Side.SELL:
            key = one.symbol, one.group
            groups[key] = max(groups.get(key, Decimal(0)), one.quantity)
    left = {symbol: held.quantity for symbol, held in portfolio.positions.items()}
    for (symbol, _), quantity in groups.items():
        left[symbol] = left.get(symbol, Decimal(0)) - quantity
    return left


def _worst_price(one: Reservation, capacity: Capacity) -> Decimal:
    if one.price is not None:
        return one.price
    collar = 1 + Decimal(repr(capacity.limits.price_collar_fraction))
    return capacity.prices.get(one.symbol, Decimal("NaN")) * collar
