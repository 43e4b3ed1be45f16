"""What a fill costs beyond the price of the bar it is matched in, and how much of a bar one order gets."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from app.domain.errors import InvalidInput
from app.domain.instrument import Instrument
from app.domain.order import Side

_BPS = Decimal("0.0001")
_ZERO = Decimal(0)
_ONE = Decimal(1)
_DRAWS = 2**64


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Slippage and commission. The bps are hundredths of a percent of price or value; money in account currency.

    A fill that takes liquidity (a market order, a triggered stop) is worse than the price of its bar by the sum of
    slippage_bps, a constant; half_spread_bps, the distance of bid or ask from the traded price; and market impact,
    impact_bps times the square root of the share of its bar's volume that the fill takes, impact_bps itself from the whole
    volume up. (The square root: Toth et al., "Anomalous price impact and the critical nature of liquidity in financial
    markets", Physical Review X 1, 021006, 2011.) A limit order never fills worse than its limit and pays none of the three.
    The commission is that of one execution.
    """

    slippage_bps: Decimal = Decimal(2)
    half_spread_bps: Decimal = _ZERO
    impact_bps: Decimal = _ZERO
    commission_bps: Decimal = _ZERO
    commission_per_share: Decimal = _ZERO
    minimum_commission: Decimal = _ZERO

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value: Decimal = getattr(self, name)
            if not (value.is_finite() and 0 <= value < 10_000):
                raise InvalidInput(f"{name} must be between 0 and 10000, got {value}")
        if self.slippage_bps + self.half_spread_bps + self.impact_bps >= 10_000:
            raise InvalidInput("slippage_bps, half_spread_bps and impact_bps must stay below 10000 together")

    def fill_price(
        self, price: Decimal, side: Side, instrument: Instrument, *, quantity: Decimal = _ZERO, volume: float = math.inf
    ) -> Decimal:
        """`price` worsened for a fill of `quantity` in a bar of `volume`, on the nearest tick, and never below a tick."""
        bps = self.slippage_bps + self.half_spread_bps
        if self.impact_bps:
            bps += self.impact_bps * _share(quantity, volume).sqrt()
        return max(instrument.price_nearest(price * (1 + bps * _BPS * side.sign)), instrument.tick(_ZERO))

    def commission(self, quantity: Decimal, price: Decimal) -> Decimal:
        """Commission of one execution, currency, >= 0, not rounded."""
        charged = quantity * price * self.commission_bps * _BPS + quantity * self.commission_per_share
        return max(charged, self.minimum_commission)


BORROW_RATE = 0.03  # of the value of what is sold short, a year: a stock that is easy to borrow, and something on top
FREE = CostModel(slippage_bps=_ZERO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Liquidity:
    """How much of a bar one order gets.

    participation: largest share of a bar's volume that an order takes in that bar, above 0 to 1, rounded down to the
    quantity step, and to whole shares where a whole number of shares is left; a bar whose share rounds down to nothing
    fills nothing. None: no cap.
    partial_probability: of an order being chosen to fill in two pieces at least, first a random number of shares (one or
    more, never all), the rest from the next bar on; Alpaca's paper account does so with a tenth of eligible orders
    (https://docs.alpaca.markets/docs/paper-trading). The choice is a pure function of seed and the order's key.
    """

    participation: Decimal | None = None
    partial_probability: Decimal = _ZERO
    seed: int = 0

    def __post_init__(self) -> None:
        if self.participation is not None and not (self.participation.is_finite() and 0 < self.participation <= 1):
            raise InvalidInput(f"participation must be above 0 and at most 1, got {self.participation}")
        if not (self.partial_probability.is_finite() and 0 <= self.partial_probability <= 1):
            raise InvalidInput(f"partial_probability must be between 0 and 1, got {self.partial_probability}")

    def volume_for(self, quantity: Decimal) -> float:
        """The smallest volume of a bar that gives an order `quantity`; 0 where nothing is capped."""
        if self.participation is None:
            return 0.0
        volume = float(quantity / self.participation)
        while Decimal(repr(volume)) * self.participation < quantity:
            volume = math.nextafter(volume, math.inf)
        return volume

    def taken(self, quantity: Decimal, volume: float, step: Decimal) -> Decimal:
        """How much of `quantity` a bar of `volume` fills, on `step`."""
        if self.participation is None:
            return quantity
        share = Decimal(repr(volume)) * self.participation
        return min(quantity, (share / step).to_integral_value(rounding=ROUND_FLOOR) * step)

    def first_part(self, quantity: Decimal, key: str) -> Decimal:
        """How much of `quantity` the first execution may fill: all of it, but for an order that is chosen. key "": never."""
        pieces = int(quantity.to_integral_value(rounding=ROUND_CEILING)) - 1
        if not key or not self.partial_probability or pieces < 1:
            return quantity
        digest = hashlib.blake2b(f"{self.seed}|{key}".encode(), digest_size=16).digest()
        if int.from_bytes(digest[:8]) >= self.partial_probability * _DRAWS:
            return quantity
        return Decimal(1 + int.from_bytes(digest[8:]) % pieces)


UNLIMITED = Liquidity()


def _share(quantity: Decimal, volume: float) -> Decimal:
    """The part of a bar's volume that a fill takes, at most 1; a bar without volume is taken whole."""
    if math.isinf(volume):
        return _ZERO
    return min(_ONE, quantity / Decimal(repr(volume))) if volume > 0 else _ONE
