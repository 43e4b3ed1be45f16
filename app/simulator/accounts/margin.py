"""What an account is worth and may still buy: pure arithmetic on cash, positions and what open orders hold.

Initial margin is one half of every position in a margin account (Regulation T) and all of it in a cash account. Maintenance
margin of a long position is 30 % of its value, all of it below 2.50 a share; of a short position the greater of 30 % and 5.00
a share, below 5.00 the greater of its whole value and 2.50 a share (docs.alpaca.markets, "Margin and Short Selling").
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

MARGIN_EQUITY = Decimal(2000)
_ZERO = Decimal(0)
_HALF = Decimal("0.5")
_SHARE = Decimal("0.3")
_LONG_FROM, _SHORT_FROM = Decimal("2.5"), Decimal(5)


class Margin(NamedTuple):
    """Dollars, but for multiplier: how much an account may buy for each dollar of its own. short_value is negative."""

    equity: Decimal
    cash: Decimal
    long_value: Decimal
    short_value: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    multiplier: int
    buying_power: Decimal
    regt_buying_power: Decimal
    non_marginable_buying_power: Decimal


def margin_of(*, cash: Decimal, holdings: Iterable[tuple[Decimal, Decimal]], reserved: Decimal, multiplier: int) -> Margin:
    """holdings: (signed quantity, price). reserved: what open orders hold. multiplier: the most that the account allows."""
    long_value = short_value = maintenance = _ZERO
    for quantity, price in holdings:
        value = quantity * price
        if quantity > 0:
            long_value += value
            maintenance += value if price < _LONG_FROM else value * _SHARE
        else:
            short_value += value
            maintenance -= quantity * (max(price, _LONG_FROM) if price < _SHORT_FROM else max(price * _SHARE, _SHORT_FROM))
    equity = cash + long_value + short_value
    factor = multiplier if equity >= MARGIN_EQUITY else 1
    gross = long_value - short_value
    power = spendable(cash=cash, equity=equity, short_value=short_value, multiplier=factor) - reserved
    regt = spendable(cash=cash, equity=equity, short_value=short_value, multiplier=min(factor, 2)) - reserved
    return Margin(
        equity=equity,
        cash=cash,
        long_value=long_value,
        short_value=short_value,
        initial_margin=gross if factor == 1 else gross * _HALF,
        maintenance_margin=gross if factor == 1 else maintenance,
        multiplier=factor,
        buying_power=max(power, _ZERO),
        regt_buying_power=max(regt, _ZERO),
        non_marginable_buying_power=max(power / factor, _ZERO),
    )


def spendable(*, cash: Decimal, equity: Decimal, short_value: Decimal, multiplier: int) -> Decimal:
    """What positions may still be bought or sold short for: multiplier x equity less the value of all positions.

    Written so that a cash account without short positions can spend exactly its cash, whatever its positions are worth.
    """
    return (multiplier - 1) * equity + cash + 2 * short_value
