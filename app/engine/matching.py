"""When and at what price an order fills from bars: one rule for the simulated exchange and the backtest.

Bars carry no order of events inside them, but one: the open comes first. The rule, for a buy (a sell mirrors it):

market      fills at the open of the first bar that starts at or after acceptance, plus slippage. The open is not known
            before the bar starts, so no order fills at a price its sender could have seen.
limit       fills in the first bar whose low reaches the limit, at the better of open and limit. No slippage.
stop        is triggered by the first bar whose high reaches the stop; fills at the open when the bar opens beyond the stop
            (gap), else at the stop price; plus slippage.
stop_limit  is triggered as a stop. Triggered at the open, it is a limit order from that open on. Triggered inside a bar, it
            fills there at the stop price plus slippage, but never beyond its limit, if the stop price is within the limit;
            else it rests as a limit order from the next bar on.
bracket     legs rest from the bar after the one that filled the entry: that is when the entry becomes known. With both legs
            touched in one bar the stop counts first (the pessimistic reading), unless the bar opens at or beyond the
            take-profit, which then is known to have come first.

An order is filled whole. A bar with NaN prices touches nothing. Executions are known when their bar is complete.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from app.domain.bar import Floats
from app.domain.errors import InvalidInput
from app.domain.instrument import Instrument
from app.domain.order import OrderType, Side
from app.engine.costs import CostModel


class PriceArrays(Protocol):
    """Bars in time order, arrays of shape (n_bars,): a BarSeries, a MinutePath, or anything alike."""

    @property
    def open(self) -> Floats: ...  # noqa: D102
    @property
    def high(self) -> Floats: ...  # noqa: D102
    @property
    def low(self) -> Floats: ...  # noqa: D102


class Matchable(Protocol):
    """The terms that matching reads off an order."""

    @property
    def side(self) -> Side: ...  # noqa: D102
    @property
    def type(self) -> OrderType: ...  # noqa: D102
    @property
    def limit_price(self) -> Decimal | None: ...  # noqa: D102
    @property
    def stop_price(self) -> Decimal | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """An order reduced to what matching needs."""

    side: Side
    type: OrderType
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


class FirstFill(NamedTuple):
    """bar_index: of the bar that fills the order. price: on the tick, slippage included."""

    bar_index: int
    price: Decimal


class FirstExit(NamedTuple):
    """As FirstFill, for a pair of protective legs. is_stop: whether the stop-loss was the one."""

    bar_index: int
    price: Decimal
    is_stop: bool


def first_fill(
    order: Matchable,
    bars: PriceArrays,
    start: int,
    *,
    instrument: Instrument,
    costs: CostModel,
    end: int | None = None,
    triggered: bool = False,
) -> FirstFill | None:
    """The first fill of `order` in bars start <= i < end, or None.

    triggered: a stop-limit order whose stop was reached in an earlier bar. Missing prices raise InvalidInput.
    """
    side, stop = order.side, len(bars.open) if end is None else end
    match order.type:
        case OrderType.MARKET:
            index = _first(np.isfinite(bars.open[start:stop]), start)
            return (
                None
                if index is None
                else FirstFill(index, costs.fill_price(_at(bars.open, index, instrument), side, instrument))
            )
        case OrderType.LIMIT:
            return _first_limit(order, bars, start, stop, instrument)
        case OrderType.STOP:
            index = first_trigger(order, bars, start, end=stop)
            if index is None:
                return None
            base = _worse(side, _at(bars.open, index, instrument), _price(order.stop_price))
            return FirstFill(index, costs.fill_price(base, side, instrument))
        case OrderType.STOP_LIMIT:
            if triggered:
                return _first_limit(order, bars, start, stop, instrument)
            return _first_stop_limit(order, bars, start, stop, instrument=instrument, costs=costs)


def first_trigger(order: Matchable, bars: PriceArrays, start: int, *, end: int | None = None) -> int | None:
    """The first bar in start <= i < end that reaches the stop price of `order`, or None."""
    stop = float(_price(order.stop_price))
    span = slice(start, end)
    reached = bars.high[span] >= stop if order.side is Side.BUY else bars.low[span] <= stop
    return _first(reached, start)


def first_exit(
    take_profit: Matchable,
    stop_loss: Matchable,
    bars: PriceArrays,
    start: int,
    *,
    instrument: Instrument,
    costs: CostModel,
    end: int | None = None,
    triggered: bool = False,
) -> FirstExit | None:
    """Which of two legs that cancel each other fills first in bars start <= i < end, and at what price; None if neither.

    take_profit: a limit order. stop_loss: a stop or stop-limit order of the same side. triggered: as in `first_fill`.
    """
    loss = first_fill(stop_loss, bars, start, instrument=instrument, costs=costs, end=end, triggered=triggered)
    gain = first_fill(take_profit, bars, start, instrument=instrument, costs=costs, end=end)
    if loss is None or (gain is not None and gain.bar_index < loss.bar_index):
        return None if gain is None else FirstExit(gain.bar_index, gain.price, False)
    if gain is not None and gain.bar_index == loss.bar_index and _opens_within(take_profit, bars, gain.bar_index):
        return FirstExit(gain.bar_index, gain.price, False)
    return FirstExit(loss.bar_index, loss.price, True)


def _first_limit(order: Matchable, bars: PriceArrays, start: int, end: int, instrument: Instrument) -> FirstFill | None:
    limit, side = _price(order.limit_price), order.side
    bound, span = float(limit), slice(start, end)
    index = _first(bars.low[span] <= bound if side is Side.BUY else bars.high[span] >= bound, start)
    return None if index is None else FirstFill(index, _better(side, _at(bars.open, index, instrument), limit))


def _first_stop_limit(
    order: Matchable, bars: PriceArrays, start: int, end: int, *, instrument: Instrument, costs: CostModel
) -> FirstFill | None:
    index = first_trigger(order, bars, start, end=end)
    if index is None:
        return None
    side, limit, stop = order.side, _price(order.limit_price), _price(order.stop_price)
    opened = _at(bars.open, index, instrument)
    if (opened - stop) * side.sign >= 0:
        return _first_limit(order, bars, index, end, instrument)
    if (limit - stop) * side.sign >= 0:
        return FirstFill(index, _better(side, costs.fill_price(stop, side, instrument), limit))
    return _first_limit(order, bars, index + 1, end, instrument)


def _opens_within(order: Matchable, bars: PriceArrays, index: int) -> bool:
    limit = float(_price(order.limit_price))
    return bool(bars.open[index] <= limit if order.side is Side.BUY else bars.open[index] >= limit)


def _first(mask: npt.NDArray[np.bool_], start: int) -> int | None:
    if not mask.size:
        return None
    index = int(mask.argmax())
    return start + index if mask[index] else None


def _at(prices: Floats, index: int, instrument: Instrument) -> Decimal:
    return instrument.price_nearest(float(prices[index]))


def _better(side: Side, one: Decimal, other: Decimal) -> Decimal:
    return min(one, other) if side is Side.BUY else max(one, other)


def _worse(side: Side, one: Decimal, other: Decimal) -> Decimal:
    return max(one, other) if side is Side.BUY else min(one, other)


def _price(price: Decimal | None) -> Decimal:
    if price is None:
        raise InvalidInput("the order lacks a price that its type needs")
    return price
