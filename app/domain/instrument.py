"""Instruments and the one crossing between floats (arrays, forecasts) and Decimals (money, orders)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from app.domain.errors import InvalidInput

CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """What may be traded and in which steps.

    price_ticks: (from_price, tick) rows, highest from_price first; the first row whose from_price <= price holds.
    quantity_step: smallest quantity difference. minimum_notional: smallest order value, in `currency`.
    fraction_step: the same for a sale by a market order of the day, with which parts of a unit can be sold where the venue
    keeps such parts.
    """

    symbol: str
    currency: str = "USD"
    price_ticks: tuple[tuple[Decimal, Decimal], ...] = ((Decimal(1), Decimal("0.01")), (Decimal(0), Decimal("0.0001")))
    quantity_step: Decimal = Decimal(1)
    fraction_step: Decimal = Decimal(1)
    minimum_notional: Decimal = Decimal(1)
    tradable: bool = True

    def tick(self, price: Decimal) -> Decimal:
        """The price step in force at `price`."""
        for from_price, tick in self.price_ticks:
            if price >= from_price:
                return tick
        raise InvalidInput(f"{self.symbol}: no price step is defined for {price}")

    def quantity_down(self, quantity: float | Decimal) -> Decimal:
        """`quantity` on the step, never more than given. Not-a-number and infinities raise InvalidInput."""
        return _on_step(_finite(quantity, self.symbol), self.quantity_step, ROUND_DOWN)

    def price_down(self, price: float | Decimal) -> Decimal:
        """`price` on the tick, never above the given price."""
        exact = _finite(price, self.symbol)
        return _on_step(exact, self.tick(exact), ROUND_FLOOR)

    def price_up(self, price: float | Decimal) -> Decimal:
        """`price` on the tick, never below the given price."""
        exact = _finite(price, self.symbol)
        return _on_step(exact, self.tick(exact), ROUND_CEILING)

    def price_nearest(self, price: float | Decimal) -> Decimal:
        """`price` on the nearest tick."""
        exact = _finite(price, self.symbol)
        return _on_step(exact, self.tick(exact), ROUND_HALF_EVEN)


def cents(amount: Decimal) -> Decimal:
    """Money as shown to people: two decimals, half to even."""
    return amount.quantize(CENT, rounding=ROUND_HALF_EVEN)


def _finite(number: float | Decimal, symbol: str) -> Decimal:
    # repr() of a float is its shortest exact name: 56.09 becomes Decimal("56.09"), not 56.0900000000000034...
    exact = number if isinstance(number, Decimal) else Decimal(repr(float(number)))
    if not exact.is_finite():
        raise InvalidInput(f"{symbol}: {number} is not a finite number")
    return exact


def _on_step(number: Decimal, step: Decimal, rounding: str) -> Decimal:
    return (number / step).to_integral_value(rounding=rounding) * step
