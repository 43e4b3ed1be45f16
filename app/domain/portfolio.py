"""Cash and positions as a fold over fills and over what else happens to an account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from app.domain.activity import Activity, ActivityKind
from app.domain.errors import InvalidInput
from app.domain.order import Fill


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A holding. quantity: signed units. average_entry_price: currency per unit, cost of the units still held."""

    symbol: str
    quantity: Decimal
    average_entry_price: Decimal
    opened_at: datetime | None = None

    def unrealized(self, price: Decimal) -> Decimal:
        """Gain of the units held at `price`, before costs, in currency."""
        return (price - self.average_entry_price) * self.quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """Cash, positions and the gain already taken, all in one currency."""

    cash: Decimal
    positions: Mapping[str, Position] = field(default_factory=dict)
    realized: Decimal = Decimal(0)

    def mark(self, prices: Mapping[str, Decimal]) -> Decimal:
        """Equity: cash plus every position at its price. A missing price raises InvalidInput."""
        missing = sorted(set(self.positions) - set(prices))
        if missing:
            raise InvalidInput(f"no price to mark {', '.join(missing)}")
        return self.cash + sum((p.quantity * prices[p.symbol] for p in self.positions.values()), Decimal(0))


def apply_fill(portfolio: Portfolio, fill: Fill) -> Portfolio:
    """The portfolio after `fill`. Adding averages the entry price; reducing realizes gain at the old average;
    crossing zero closes the old position and opens the rest at the fill's price."""
    signed = fill.quantity * fill.side.sign
    held = portfolio.positions.get(fill.symbol)
    before = held.quantity if held else Decimal(0)
    after = before + signed
    closed = min(abs(before), abs(signed)) if before * signed < 0 else Decimal(0)
    direction = Decimal(1) if before > 0 else Decimal(-1)
    realized = closed * (fill.price - held.average_entry_price) * direction if held else Decimal(0)

    positions = dict(portfolio.positions)
    positions.pop(fill.symbol, None)
    if after != 0:
        if held is None or before * after < 0:
            position = Position(symbol=fill.symbol, quantity=after, average_entry_price=fill.price, opened_at=fill.filled_at)
        elif closed:
            position = Position(
                symbol=fill.symbol, quantity=after, average_entry_price=held.average_entry_price, opened_at=held.opened_at
            )
        else:
            cost = before * held.average_entry_price + signed * fill.price
            position = Position(symbol=fill.symbol, quantity=after, average_entry_price=cost / after, opened_at=held.opened_at)
        positions[fill.symbol] = position
    return Portfolio(
        cash=portfolio.cash - signed * fill.price - fill.commission,
        positions=positions,
        realized=portfolio.realized + realized - fill.commission,
    )


def apply_activity(portfolio: Portfolio, entry: Activity) -> Portfolio:
    """The portfolio after `entry`. A split keeps what the holding cost; units that come cost their price; units that go take
    their cost along, which is a loss only where they end in a reorganization."""
    gain = entry.amount if entry.kind.is_gain else Decimal(0)
    after = replace(portfolio, cash=portfolio.cash + entry.amount, realized=portfolio.realized + gain)
    if entry.symbol is None or not entry.quantity:
        return after
    held = portfolio.positions.get(entry.symbol) or Position(
        symbol=entry.symbol, quantity=Decimal(0), average_entry_price=entry.price or Decimal(0), opened_at=entry.at
    )
    quantity = held.quantity + entry.quantity
    ended = held.quantity if not quantity else -entry.quantity if held.quantity * entry.quantity < 0 else Decimal(0)
    cost = held.quantity * held.average_entry_price
    positions = {symbol: other for symbol, other in portfolio.positions.items() if symbol != entry.symbol}
    if quantity:
        average = held.average_entry_price
        if entry.kind is ActivityKind.SPLIT:
            average = cost / quantity
        elif not ended:
            average = (cost + entry.quantity * (entry.price or held.average_entry_price)) / quantity
        positions[entry.symbol] = replace(held, quantity=quantity, average_entry_price=average)
    lost = ended * held.average_entry_price
    if entry.kind is ActivityKind.REORGANIZATION or (entry.kind is ActivityKind.SPLIT and not quantity):
        after = replace(after, realized=after.realized - lost)
    return replace(after, positions=positions)
