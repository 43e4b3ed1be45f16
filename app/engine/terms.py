"""What matching reads: bars, the terms of an order, and what the order remembers."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, Protocol

from app.domain.bar import Floats
from app.domain.order import OrderType, Side, TimeInForce


class PriceArrays(Protocol):
    """Bars of one session in time order, arrays of shape (n_bars,): a MinutePath or anything alike."""

    @property
    def open(self) -> Floats: ...  # noqa: D102
    @property
    def high(self) -> Floats: ...  # noqa: D102
    @property
    def low(self) -> Floats: ...  # noqa: D102
    @property
    def close(self) -> Floats: ...  # noqa: D102
    @property
    def volume(self) -> Floats: ...  # noqa: D102


class Matchable(Protocol):
    """The terms that matching reads off an order. A trailing stop has one of the two trails, other types neither."""

    @property
    def side(self) -> Side: ...  # noqa: D102
    @property
    def type(self) -> OrderType: ...  # noqa: D102
    @property
    def time_in_force(self) -> TimeInForce: ...  # noqa: D102
    @property
    def limit_price(self) -> Decimal | None: ...  # noqa: D102
    @property
    def stop_price(self) -> Decimal | None: ...  # noqa: D102
    @property
    def trail_price(self) -> Decimal | None: ...  # noqa: D102
    @property
    def trail_percent(self) -> Decimal | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """An order reduced to what matching needs."""

    side: Side
    type: OrderType
    time_in_force: TimeInForce = TimeInForce.DAY
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None


class Progress(NamedTuple):
    """What an order remembers of earlier bars. triggered: its stop was reached. mark: of a trailing stop, the best price since
    acceptance (Alpaca's hwm), given at acceptance; None takes the first open."""

    triggered: bool = False
    mark: Decimal | None = None


FRESH = Progress()
