"""The rule of the research kernel once more, slow and plain: every fill is asked of `app.engine.matching` itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from types import SimpleNamespace

import numpy as np

from app.backtest.compiled.instrument import FillRule, Setup, Sides
from app.domain.instrument import Instrument
from app.domain.order import OrderType, Side
from app.domain.panel import Panel
from app.engine.costs import CostModel
from app.engine.matching import PriceArrays, Terms, first_exit, first_fill

FINE = Instrument(symbol="X", price_ticks=((Decimal(0), Decimal("1e-16")),), quantity_step=Decimal("1e-16"))


@dataclass
class Trade:
    signal: int
    entry: int
    quantity: float
    entry_price: float
    exit: int = -1
    ending: str = "open"
    exit_price: float = math.nan
    profit: float = math.nan


@dataclass
class Told:
    trades: list[Trade]
    equity: list[float]
    held: int


def reference(panel: Panel, score: np.ndarray, threshold: float, setup: Setup) -> Told:
    """Bar by bar. Bars that lack a price are skipped; the equity then is that of the bar before."""
    bars = SimpleNamespace(**{name: getattr(panel, name)[0] for name in ("open", "high", "low", "close", "volume")})
    sound = np.isfinite(bars.open) & np.isfinite(bars.high) & np.isfinite(bars.low) & np.isfinite(bars.close)
    at_close, cash, units, held = setup.fill is FillRule.CLOSE, setup.capital, 0.0, 0
    trades: list[Trade] = []
    equity: list[float] = []
    entering: tuple[int, float] | None = None
    leaving = resting = False
    before = cash  # the cash before the open trade

    def enter(signal: int, bar: int, price: float, quantity: float) -> None:
        nonlocal cash, units, before
        quantity = _affordable(quantity, cash, price, setup)
        if quantity > 0.0:
            before = cash
            cash -= quantity * price + _commission(quantity, price, setup.costs)
            units = quantity
            trades.append(Trade(signal, bar, quantity, price))

    def leave(bar: int, price: float, ending: str) -> None:
        nonlocal cash, units
        cash += units * price - _commission(units, price, setup.costs)
        units = 0.0
        last = trades[-1]
        last.exit, last.exit_price, last.ending, last.profit = bar, price, ending, cash - before

    for i in range(len(panel)):
        if not sound[i]:
            equity.append(equity[-1] if equity else setup.capital)
            continue
        resting = False
        if entering is not None:
            signal, quantity = entering
            price = _entry_price(bars, i, signal, quantity, setup)
            resting = price is None
            if price is not None:
                enter(signal, i, price, quantity)
            entering = None
        elif leaving:
            leave(i, _market(bars, i, Side.SELL, units, setup), "signal")
            leaving = False
        if units > 0.0 and trades[-1].entry < i:
            protected = _protected(bars, i, trades[-1], units, setup)
            if protected is not None:
                leave(i, *protected)
        vote = 1 if score[i] >= threshold else -1 if score[i] <= -threshold else 0
        if units > 0.0 and vote < 0:
            if at_close:
                leave(i, _worse(bars.close[i], Side.SELL, units, bars.volume[i], setup.costs), "signal")
            else:
                leaving = True
        elif units == 0.0 and vote > 0 and not resting:
            quantity = _quantity(cash, bars.close[i], setup)
            if at_close:
                enter(i, i, _worse(bars.close[i], Side.BUY, quantity, bars.volume[i], setup.costs), quantity)
            elif quantity > 0.0:
                entering = (i, quantity)
        held += units > 0.0
        equity.append(cash + units * bars.close[i])
    if units > 0.0:
        trades[-1].profit = equity[-1] - before
    return Told(trades, equity, held)


def _entry_price(bars: PriceArrays, i: int, signal: int, quantity: float, setup: Setup) -> float | None:
    if setup.collar_fraction == 0.0:
        return _market(bars, i, Side.BUY, quantity, setup)
    limit = Decimal(repr(float(bars.close[signal] * (1.0 + setup.collar_fraction))))
    order = Terms(side=Side.BUY, type=OrderType.LIMIT, limit_price=limit)
    fill = first_fill(order, _exact(quantity), bars, i, end=i + 1, instrument=FINE, costs=setup.costs)
    return None if fill is None else float(fill.price)


def _market(bars: PriceArrays, i: int, side: Side, quantity: float, setup: Setup) -> float:
    order = Terms(side=side, type=OrderType.MARKET)
    fill = first_fill(order, _exact(quantity), bars, i, end=i + 1, instrument=FINE, costs=setup.costs)
    assert fill is not None
    return float(fill.price)


def _protected(bars: PriceArrays, i: int, trade: Trade, units: float, setup: Setup) -> tuple[float, str] | None:
    """What the legs do in bar i; a leg that is off is one out of reach."""
    stop = trade.entry_price * (1.0 - setup.stop_loss_fraction) if setup.stop_loss_fraction else 1e-12
    target = trade.entry_price * (1.0 + setup.take_profit_fraction) if setup.take_profit_fraction else 1e12
    gain = Terms(side=Side.SELL, type=OrderType.LIMIT, limit_price=Decimal(repr(float(target))))
    loss = Terms(side=Side.SELL, type=OrderType.STOP, stop_price=Decimal(repr(float(stop))))
    found = first_exit(gain, loss, _exact(units), bars, i, end=i + 1, instrument=FINE, costs=setup.costs)
    return None if found is None else (float(found.price), "stop_loss" if found.is_stop else "take_profit")


def _worse(price: float, side: Side, quantity: float, volume: float, costs: CostModel) -> float:
    return float(costs.fill_price(Decimal(repr(float(price))), side, FINE, quantity=_exact(quantity), volume=float(volume)))


def _commission(quantity: float, price: float, costs: CostModel) -> float:
    return float(costs.commission(_exact(quantity), Decimal(repr(float(price)))))


def _quantity(equity: float, close: float, setup: Setup) -> float:
    costs = setup.costs
    slippage = float(costs.slippage_bps + costs.half_spread_bps) * 1e-4
    worst = close * (1.0 + (setup.collar_fraction or slippage))
    unit = worst * (1.0 + float(costs.commission_bps) * 1e-4) + float(costs.commission_per_share)
    return _on_step(setup.fraction * equity / unit, setup.quantity_step)


def _affordable(quantity: float, cash: float, price: float, setup: Setup) -> float:
    costs = setup.costs
    if quantity * price + _commission(quantity, price, costs) <= cash:
        return quantity
    unit = price * (1.0 + float(costs.commission_bps) * 1e-4) + float(costs.commission_per_share)
    return _on_step(min(quantity, cash / unit, (cash - float(costs.minimum_commission)) / price), setup.quantity_step)


def _on_step(quantity: float, step: float) -> float:
    return math.floor(quantity / step + 1e-9) * step if step else quantity


def _exact(number: float) -> Decimal:
    return Decimal(repr(float(number)))


def reference_both(panel: Panel, score: np.ndarray, threshold: float, setup: Setup, bars_a_year: float) -> Told:
    """The same with both sides: units below zero are a short."""
    bars = SimpleNamespace(**{name: getattr(panel, name)[0] for name in ("open", "high", "low", "close", "volume")})
    sound = np.isfinite(bars.open) & np.isfinite(bars.high) & np.isfinite(bars.low) & np.isfinite(bars.close)
    at_close, book = setup.fill is FillRule.CLOSE, _Book(setup)
    equity: list[float] = []
    held = 0
    wish: tuple[int, int, float] | None = None  # voting bar, side, quantity
    turning = False  # whether the wish closes a holding first
    for i in range(len(panel)):
        if not sound[i]:
            equity.append(equity[-1] if equity else setup.capital)
            continue
        resting = False
        if wish is not None:
            signal, side, quantity = wish
            if turning:
                book.leave(i, _market(bars, i, Side.SELL if book.units > 0.0 else Side.BUY, abs(book.units), setup), "signal")
            price = _side_price(bars, i, signal, side, quantity, setup) if quantity > 0.0 else math.nan
            resting = price is None
            if price is not None and quantity > 0.0:
                book.enter(signal, i, price, side, quantity)
            wish, turning = None, False
        if book.units != 0.0 and book.trades[-1].entry < i:
            ended = _legs(bars, i, book.trades[-1], book.units, setup)
            if ended is not None:
                book.leave(i, *ended)
        borrow = setup.borrow_rate / bars_a_year
        is_held = not at_close and book.stand(i, bars.close[i], bars.volume[i], borrow)
        vote = 1 if score[i] >= threshold else -1 if score[i] <= -threshold else 0
        wants = vote != 0 and not resting and vote * book.units <= 0.0
        if wants:
            quantity = _quantity(book.cash + book.units * bars.close[i], bars.close[i], setup)
            if at_close:
                if book.units != 0.0:
                    out = Side.SELL if book.units > 0.0 else Side.BUY
                    book.leave(i, _worse(bars.close[i], out, abs(book.units), bars.volume[i], setup.costs), "signal")
                if quantity > 0.0:
                    into = Side.BUY if vote > 0 else Side.SELL
                    book.enter(i, i, _worse(bars.close[i], into, quantity, bars.volume[i], setup.costs), vote, quantity)
            elif book.units != 0.0 or quantity > 0.0:
                wish, turning = (i, vote, quantity), book.units != 0.0
        if at_close:
            is_held = book.stand(i, bars.close[i], bars.volume[i], borrow)
        held += is_held
        equity.append(book.cash + book.units * bars.close[i])
    if book.units != 0.0:
        book.trades[-1].profit = equity[-1] - book.before
    return Told(book.trades, equity, held)


class _Book:
    """Cash and units of the account, and its trades."""

    def __init__(self, setup: Setup) -> None:
        assert setup.sides is Sides.BOTH
        self.setup, self.cash, self.units, self.before = setup, setup.capital, 0.0, setup.capital
        self.trades: list[Trade] = []

    def enter(self, signal: int, bar: int, price: float, side: int, quantity: float) -> None:
        quantity = _affordable(quantity, self.cash, price, self.setup)
        if quantity > 0.0:
            self.before, self.units = self.cash, side * quantity
            self.cash -= self.units * price + _commission(quantity, price, self.setup.costs)
            self.trades.append(Trade(signal, bar, self.units, price))

    def leave(self, bar: int, price: float, ending: str) -> None:
        self.cash += self.units * price - _commission(abs(self.units), price, self.setup.costs)
        self.units, last = 0.0, self.trades[-1]
        last.exit, last.exit_price, last.ending, last.profit = bar, price, ending, self.cash - self.before

    def stand(self, bar: int, close: float, volume: float, borrow: float) -> bool:
        """The end of a bar: a short pays its fee, or is bought back where it has used up the equity; whether it is held."""
        if self.units < 0.0:
            fee = -self.units * close * borrow
            if self.cash - fee + self.units * close <= 0.0:
                self.leave(bar, _worse(close, Side.BUY, -self.units, volume, self.setup.costs), "ruin")
                return False
            self.cash -= fee
        return self.units != 0.0


def _side_price(bars: PriceArrays, i: int, signal: int, side: int, quantity: float, setup: Setup) -> float | None:
    """What an entry pays or gets in bar i; None where its limit is not met."""
    if setup.collar_fraction == 0.0:
        return _market(bars, i, Side.BUY if side > 0 else Side.SELL, quantity, setup)
    limit = Decimal(repr(float(bars.close[signal] * (1.0 + side * setup.collar_fraction))))
    order = Terms(side=Side.BUY if side > 0 else Side.SELL, type=OrderType.LIMIT, limit_price=limit)
    fill = first_fill(order, _exact(quantity), bars, i, end=i + 1, instrument=FINE, costs=setup.costs)
    return None if fill is None else float(fill.price)


def _legs(bars: PriceArrays, i: int, trade: Trade, units: float, setup: Setup) -> tuple[float, str] | None:
    """What the legs of either side do in bar i. The stop of a short fills at the open of a gap, however far: a venue's collar
    on stops to buy is not part of the rule."""
    if units > 0.0:
        return _protected(bars, i, trade, units, setup)
    stop = trade.entry_price * (1.0 + setup.stop_loss_fraction) if setup.stop_loss_fraction else math.inf
    target = trade.entry_price * (1.0 - setup.take_profit_fraction) if setup.take_profit_fraction else -math.inf
    is_stopped = bars.high[i] >= stop
    if bars.low[i] <= target and not (is_stopped and bars.open[i] > target):
        order = Terms(side=Side.BUY, type=OrderType.LIMIT, limit_price=Decimal(repr(float(target))))
        fill = first_fill(order, _exact(-units), bars, i, end=i + 1, instrument=FINE, costs=setup.costs)
        assert fill is not None
        return float(fill.price), "take_profit"
    if is_stopped:
        return _worse(max(bars.open[i], stop), Side.BUY, -units, bars.volume[i], setup.costs), "stop_loss"
    return None
