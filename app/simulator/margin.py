"""What an account is worth and may still buy."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple


class Margin(NamedTuple):
    """Dollars, but for multiplier: how much an account may buy for each dollar of its own."""

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
