"""What a fill costs beyond the price of the bar it is matched in."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from app.domain.errors import InvalidInput
from app.domain.instrument import Instrument
from app.domain.order import Side

_BPS = Decimal("0.0001")
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Slippage and commission. The bps are hundredths of a percent of price or value; money in account currency.

    slippage_bps worsens market and triggered stop fills only; a limit order never fills worse than its limit.
    """

    slippage_bps: Decimal = Decimal(2)
    commission_bps: Decimal = _ZERO
    commission_per_share: Decimal = _ZERO
    minimum_commission: Decimal = _ZERO

    def __post_init__(self) -> None:
        for name in ("slippage_bps", "commission_bps", "commission_per_share", "minimum_commission"):
            value: Decimal = getattr(self, name)
            if not (value.is_finite() and 0 <= value < 10_000):
                raise InvalidInput(f"{name} must be between 0 and 10000, got {value}")

    def fill_price(self, price: Decimal, side: Side, instrument: Instrument) -> Decimal:
        """`price` worsened by the slippage, on the nearest tick, never worse by less than nothing and never below a tick."""
        slipped = price * (1 + self.slippage_bps * _BPS * side.sign)
        return max(instrument.price_nearest(slipped), instrument.tick(_ZERO))

    def commission(self, quantity: Decimal, price: Decimal) -> Decimal:
        """Commission of one execution, currency, >= 0, not rounded."""
        charged = quantity * price * self.commission_bps * _BPS + quantity * self.commission_per_share
        return max(charged, self.minimum_commission)


FREE = CostModel(slippage_bps=_ZERO)
