"""When, at what price and how much of an order fills from bars: one rule for the simulated exchange and the backtest.

Bars carry no order of events inside them, but three: the open comes first, the close last, and the auctions trade at the
session's first open and last close. The rule, for a buy (a sell mirrors it):

market      fills at the open of the first bar that starts at or after acceptance, plus slippage. The open is not known
            before the bar starts, so no order fills at a price its sender could have seen.
limit       fills in the first bar whose low reaches the limit, at the better of open and limit. No slippage.
stop        is triggered by the first bar whose high reaches the stop; fills at the open when the bar opens beyond the stop
            (gap), else at the stop price; plus slippage. A sell then is a market order. A buy never pays more than a collar
            above its stop, 4 % for a stop below 50.00 and 2.5 % from there up, as Alpaca turns buy stops into such stop-limit
            orders: opened beyond the collar, or not filled whole in its bar, it rests as a limit order at the collar.
stop_limit  is triggered as a stop. Triggered at the open, it is a limit order from that open on. Triggered inside a bar, it
            fills there at the stop price plus slippage, but never beyond its limit, if the stop price is within the limit;
            else it rests as a limit order from the next bar on.
trailing    has a mark, the lowest price since acceptance (the highest for a sell), and its stop the trail above it. In each
            bar the stop of the mark before the bar is tested first, as for a stop order. Then the bar's low moves the mark;
            a close at or beyond the stop of the new mark came after that low: the order fills at the new stop. Plus slippage,
            then a market order. A trail in percent is not rounded, only the price of the fill is.
bracket     legs rest from the bar after the one that filled the entry whole: that is when the entry becomes known. With both
            legs touched in one bar the stop counts first (the pessimistic reading), unless the bar opens at or beyond the
            take-profit, which then is known to have come first. An entry that ends partly filled never gets its legs.

day, gtc    fill in any bar. ioc looks at its first bar alone; fok too, and fills whole or not at all. opg fills at the open
            of the session's first bar and cls at the close of its last, market orders always, limit orders when that price
            is within the limit, both without slippage: an auction has one price for all. Other types have no auction.

An order fills whole in its bar unless `Liquidity` caps it: then in each bar that its price allows it takes its share of the
volume, and what is left goes on from the next bar: a limit as a limit, a triggered stop as said above. A stop reached in a bar
that has no volume for it is triggered all the same. Slippage stands for all that `CostModel.fill_price` adds. A bar with NaN
prices touches nothing. Executions are known when their bar is complete.
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from app.domain.bar import Floats
from app.domain.errors import InvalidInput
from app.domain.instrument import Instrument
from app.domain.order import OrderType, Side, TimeInForce
from app.engine.costs import UNLIMITED, CostModel, Liquidity
from app.engine.terms import FRESH, Matchable, PriceArrays, Progress, Terms
from app.engine.trailing import Trailed, TrailedBars, trail

__all__ = [
    "FRESH",
    "FirstExit",
    "FirstFill",
    "Matchable",
    "PriceArrays",
    "Progress",
    "Terms",
    "first_exit",
    "first_fill",
    "follow",
    "trailing_stop",
]

_ZERO = Decimal(0)
_ONE = Decimal(1)
_COLLAR_FROM = Decimal(50)
_COLLAR_BELOW, _COLLAR_ABOVE = Decimal("1.04"), Decimal("1.025")
# Tuples, because a member of an enumeration is compared faster than hashed.
_AT_ONCE = (TimeInForce.IOC, TimeInForce.FOK)
_AUCTIONS = (TimeInForce.OPG, TimeInForce.CLS)
_STOPS = (OrderType.STOP, OrderType.STOP_LIMIT)


class FirstFill(NamedTuple):
    """bar_index: of the bar that fills the order. price: on the tick, slippage included. quantity: what fills there."""

    bar_index: int
    price: Decimal
    quantity: Decimal


class FirstExit(NamedTuple):
    """As FirstFill, for a pair of protective legs. is_stop: whether the stop-loss was the one."""

    bar_index: int
    price: Decimal
    quantity: Decimal
    is_stop: bool


class _Window(NamedTuple):
    """An order before bars start <= i < end. ready: which of them have volume for it, None for all."""

    order: Matchable
    bars: PriceArrays
    start: int
    end: int
    ready: npt.NDArray[np.bool_] | None
    instrument: Instrument

    def first(self, mask: npt.NDArray[np.bool_], since: int) -> int | None:
        """The first bar of a mask over since <= i < end that has volume."""
        return _first(mask if self.ready is None else mask & self.ready[since - self.start :], since)

    def has_volume(self, index: int) -> bool:
        """Whether bar `index` has volume for the order."""
        return self.ready is None or bool(self.ready[index - self.start])

    def at(self, prices: Floats, index: int) -> Decimal:
        """A price of bar `index`, on the tick."""
        return self.instrument.price_nearest(float(prices[index]))


class _Touch(NamedTuple):
    """A fill before costs. takes: whether it takes liquidity and pays for it, never worse than `bound`."""

    bar_index: int
    price: Decimal
    takes: bool = False
    bound: Decimal | None = None


def first_fill(
    order: Matchable,
    quantity: Decimal,
    bars: PriceArrays,
    start: int,
    *,
    instrument: Instrument,
    costs: CostModel,
    liquidity: Liquidity = UNLIMITED,
    end: int | None = None,
    progress: Progress = FRESH,
    key: str = "",
) -> FirstFill | None:
    """The first fill of `order` in bars start <= i < end, or None. Missing prices raise InvalidInput.

    quantity: what is left of the order; a notional order gives an estimate, and has filled whole when all of it fills.
    bars: of one session, whole for opg and cls. start of an ioc or fok order: its own first bar.
    key: names the order in the draw for partial fills: its client order id, "<client order id of the entry>-exit" for the legs
    of a bracket; "" once it has an execution.
    What is left after a fill in bar i goes on with start=i + 1 and progress=follow(..., end=i + 1).
    """
    stop = len(bars.open) if end is None else end
    if order.time_in_force in _AT_ONCE:
        stop = min(stop, start + 1)
    if stop <= start:
        return None
    whole = order.time_in_force is TimeInForce.FOK
    step, ready = _ONE, None
    if liquidity.participation is not None:
        step = _step(quantity, instrument)
        ready = bars.volume[start:stop] >= liquidity.volume_for(quantity if whole else step)
    touch = _first_touch(_Window(order, bars, start, stop, ready, instrument), progress)
    if touch is None:
        return None
    volume = float(bars.volume[touch.bar_index])
    part = quantity
    if not whole and liquidity is not UNLIMITED:
        part = min(liquidity.first_part(quantity, key), liquidity.taken(quantity, volume, step))
    if not touch.takes:
        return FirstFill(touch.bar_index, touch.price, part)
    price = costs.fill_price(touch.price, order.side, instrument, quantity=part, volume=volume)
    return FirstFill(touch.bar_index, price if touch.bound is None else _better(order.side, price, touch.bound), part)


def first_exit(
    take_profit: Matchable,
    stop_loss: Matchable,
    quantity: Decimal,
    bars: PriceArrays,
    start: int,
    *,
    instrument: Instrument,
    costs: CostModel,
    liquidity: Liquidity = UNLIMITED,
    end: int | None = None,
    progress: Progress = FRESH,
    key: str = "",
) -> FirstExit | None:
    """Which of two legs that cancel each other fills first in bars start <= i < end, and at what price; None if neither.

    take_profit: a limit order. stop_loss: a stop or stop-limit order of the same side. quantity: what is left of both.
    progress: of the stop-loss. The rest as in `first_fill`; after a partial fill of either leg both go on with what is left.
    """
    try_leg = partial(
        first_fill,
        quantity=quantity,
        bars=bars,
        start=start,
        instrument=instrument,
        costs=costs,
        liquidity=liquidity,
        end=end,
        key=key,
    )
    loss, gain = try_leg(stop_loss, progress=progress), try_leg(take_profit)
    if loss is None or (gain is not None and gain.bar_index < loss.bar_index):
        return None if gain is None else FirstExit(*gain, False)
    if gain is not None and gain.bar_index == loss.bar_index and _within(take_profit, bars.open[gain.bar_index]):
        return FirstExit(*gain, False)
    return FirstExit(*loss, True)


def follow(order: Matchable, bars: PriceArrays, start: int, *, end: int | None = None, progress: Progress = FRESH) -> Progress:
    """What `order` remembers after bars start <= i < end that left something of it open."""
    stop = len(bars.open) if end is None else end
    if progress.triggered or stop <= start:
        return progress
    if order.type is OrderType.TRAILING_STOP:
        trailed = _trail(order, bars, start, stop, progress.mark)
        return Progress(trailed.bar_index is not None, trailed.mark)
    if order.type in _STOPS:
        return progress._replace(triggered=_first_trigger(order, bars, start, stop) is not None)
    return progress


def trailing_stop(order: Matchable, mark: Decimal) -> Decimal:
    """The stop price of a trailing stop order at `mark`, not rounded, never below zero."""
    if order.trail_percent is not None:
        return max(_ZERO, mark * (1 + order.side.sign * order.trail_percent / 100))
    return max(_ZERO, mark + order.side.sign * _price(order.trail_price))


def _first_touch(window: _Window, progress: Progress) -> _Touch | None:
    order, start = window.order, window.start
    if order.time_in_force in _AUCTIONS:
        return _auction(window)
    match order.type:
        case OrderType.MARKET:
            return _market(window, start)
        case OrderType.LIMIT:
            return _limit(window, start, _price(order.limit_price))
        case OrderType.STOP if order.side is Side.SELL:
            return _market(window, start) if progress.triggered else _sell_stop(window)
        case OrderType.STOP:
            bound = _collar(order, window.instrument)
            return _limit(window, start, bound) if progress.triggered else _buy_stop(window, bound)
        case OrderType.STOP_LIMIT:
            limit = _price(order.limit_price)
            return _limit(window, start, limit) if progress.triggered else _stop_limit(window, limit)
        case OrderType.TRAILING_STOP:
            return _market(window, start) if progress.triggered else _trailing(window, progress.mark)


def _auction(window: _Window) -> _Touch | None:
    order, bars = window.order, window.bars
    opening = order.time_in_force is TimeInForce.OPG
    index, prices = (0, bars.open) if opening else (len(bars.close) - 1, bars.close)
    if order.type in (*_STOPS, OrderType.TRAILING_STOP) or not window.start <= index < window.end:
        return None
    if not (np.isfinite(prices[index]) and window.has_volume(index)):
        return None
    if order.type is OrderType.LIMIT and not _within(order, prices[index]):
        return None
    return _Touch(index, window.at(prices, index))


def _market(window: _Window, since: int) -> _Touch | None:
    index = window.first(np.isfinite(window.bars.open[since : window.end]), since)
    return None if index is None else _Touch(index, window.at(window.bars.open, index), takes=True)


def _limit(window: _Window, since: int, limit: Decimal) -> _Touch | None:
    bars, side, bound, span = window.bars, window.order.side, float(limit), slice(since, window.end)
    index = window.first(bars.low[span] <= bound if side is Side.BUY else bars.high[span] >= bound, since)
    return None if index is None else _Touch(index, _better(side, window.at(bars.open, index), limit))


def _sell_stop(window: _Window) -> _Touch | None:
    index = _first_trigger(window.order, window.bars, window.start, window.end)
    if index is None:
        return None
    if not window.has_volume(index):
        return _market(window, index + 1)
    return _Touch(index, min(window.at(window.bars.open, index), _price(window.order.stop_price)), takes=True)


def _buy_stop(window: _Window, bound: Decimal) -> _Touch | None:
    index = _first_trigger(window.order, window.bars, window.start, window.end)
    if index is None:
        return None
    opened = window.at(window.bars.open, index)
    if opened > bound:
        return _limit(window, index, bound)
    if not window.has_volume(index):
        return _limit(window, index + 1, bound)
    return _Touch(index, max(opened, _price(window.order.stop_price)), takes=True, bound=bound)


def _stop_limit(window: _Window, limit: Decimal) -> _Touch | None:
    order = window.order
    index = _first_trigger(order, window.bars, window.start, window.end)
    if index is None:
        return None
    sign, stop = order.side.sign, _price(order.stop_price)
    if (window.at(window.bars.open, index) - stop) * sign >= 0:
        return _limit(window, index, limit)
    if (limit - stop) * sign >= 0 and window.has_volume(index):
        return _Touch(index, stop, takes=True, bound=limit)
    return _limit(window, index + 1, limit)


def _trailing(window: _Window, mark: Decimal | None) -> _Touch | None:
    trailed = _trail(window.order, window.bars, window.start, window.end, mark)
    if trailed.bar_index is None:
        return None
    if not window.has_volume(trailed.bar_index):
        return _market(window, trailed.bar_index + 1)
    return _Touch(trailed.bar_index, window.instrument.price_nearest(_price(trailed.price)), takes=True)


def _trail(order: Matchable, bars: PriceArrays, start: int, end: int, mark: Decimal | None) -> Trailed:
    best, worst = (bars.low, bars.high) if order.side is Side.BUY else (bars.high, bars.low)
    seen = TrailedBars(*(array[start:end] for array in (bars.open, best, worst, bars.close)))
    trailed = trail(seen, order.side.sign, mark, lambda price: trailing_stop(order, price))
    return trailed if trailed.bar_index is None else trailed._replace(bar_index=start + trailed.bar_index)


def _first_trigger(order: Matchable, bars: PriceArrays, start: int, end: int) -> int | None:
    """The first bar in start <= i < end that reaches the stop price of `order`, or None."""
    stop, span = float(_price(order.stop_price)), slice(start, end)
    return _first(bars.high[span] >= stop if order.side is Side.BUY else bars.low[span] <= stop, start)


def _collar(order: Matchable, instrument: Instrument) -> Decimal:
    """The most that a buy stop pays."""
    stop = _price(order.stop_price)
    return instrument.price_down(stop * (_COLLAR_BELOW if stop < _COLLAR_FROM else _COLLAR_ABOVE))


def _step(quantity: Decimal, instrument: Instrument) -> Decimal:
    """In what steps an order with `quantity` left takes its share of a bar."""
    return max(_ONE, instrument.quantity_step) if quantity == quantity.to_integral_value() else instrument.quantity_step


def _within(order: Matchable, price: float) -> bool:
    limit = float(_price(order.limit_price))
    return bool(price <= limit if order.side is Side.BUY else price >= limit)


def _first(mask: npt.NDArray[np.bool_], start: int) -> int | None:
    if not mask.size:
        return None
    index = int(mask.argmax())
    return start + index if mask[index] else None


def _better(side: Side, one: Decimal, other: Decimal) -> Decimal:
    return min(one, other) if side is Side.BUY else max(one, other)


def _price(price: Decimal | None) -> Decimal:
    if price is None:
        raise InvalidInput("the order lacks a price that its type needs")
    return price
