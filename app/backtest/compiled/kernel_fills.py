"""Fills of the research kernel: at which bar and price an order is dealt, how much of it, and at what cost."""

from __future__ import annotations

import math

from app.backtest.compiled.kernel_terms import OPEN_END, SIGNAL, STOP, TARGET, Bars, Terms, compiled


@compiled
def bought(bars: Bars, signal: int, cash: float, terms: Terms) -> tuple[int, float, float]:
    """(bar, quantity, price with slippage) of the entry that `signal` asked for; quantity 0 if there is none, the bar then that
    of the next vote that counts: an order that rests for a bar stands in the way of the one which that bar asks for."""
    quantity = units_asked(cash, bars.close[signal], terms)
    if not quantity > 0.0:
        return signal + 1, 0.0, math.nan
    entry, price = entry_of(bars, signal, terms)
    if entry < 0:
        return signal + 2, 0.0, math.nan
    if terms.at_close or not terms.collar > 0.0:
        price *= 1.0 + slippage_of(quantity, bars.volume[entry], terms)
    quantity = affordable(quantity, cash, price, terms)
    return (entry, quantity, price) if quantity > 0.0 else (max(entry, signal + 1), 0.0, price)


@compiled
def entry_of(bars: Bars, signal: int, terms: Terms) -> tuple[int, float]:
    """(bar, price before slippage) of the fill of an entry that `signal` asked for; bar -1 if there is none."""
    if terms.at_close:
        return signal, bars.close[signal]
    if terms.collar > 0.0:
        limit, at = bars.close[signal] * (1.0 + terms.collar), signal + 1
        if at < len(bars.low) and bars.low[at] <= limit:
            return at, min(bars.open[at], limit)
        return -1, math.nan
    return (signal + 1, bars.open[signal + 1]) if signal + 1 < len(bars.open) else (-1, math.nan)


@compiled
def exit_of(bars: Bars, entry: int, sale: int, price: float, quantity: float, terms: Terms) -> tuple[int, float, int]:
    """(bar, price with slippage, how) of the end of a holding; bar -1 if it never ends. sale: bar of the next vote to sell."""
    n = len(bars.close)
    if terms.stop > 0.0 or terms.target > 0.0:
        stop = price * (1.0 - terms.stop) if terms.stop > 0.0 else -math.inf
        target = price * (1.0 + terms.target) if terms.target > 0.0 else math.inf
        at = touched(bars, entry + 1, min(sale + 1, n), stop, target)
        if at >= 0:
            reached = bars.high[at] >= target
            if reached and (not bars.low[at] <= stop or bars.open[at] >= target):
                return at, max(bars.open[at], target), TARGET
            worse = 1.0 - slippage_of(quantity, bars.volume[at], terms)
            return at, min(bars.open[at], stop) * worse, STOP
    at = sale if terms.at_close else sale + 1
    if at >= n:
        return -1, math.nan, OPEN_END
    before = bars.close[at] if terms.at_close else bars.open[at]
    return at, before * (1.0 - slippage_of(quantity, bars.volume[at], terms)), SIGNAL


@compiled
def touched(bars: Bars, start: int, stop: int, low: float, high: float) -> int:
    """The first bar in start <= i < stop that reaches `low` or `high`, or -1."""
    for i in range(start, stop):
        if (bars.low[i] <= low) | (bars.high[i] >= high):
            return i
    return -1


@compiled
def slippage_of(quantity: float, volume: float, terms: Terms) -> float:
    """The fraction of its price that a fill of `quantity` in a bar of `volume` is worse (see `app.engine.costs`)."""
    if terms.impact == 0.0:
        return terms.slippage
    share = min(1.0, quantity / volume) if volume > 0.0 else 1.0
    return terms.slippage + terms.impact * math.sqrt(share)


@compiled
def fee_of(quantity: float, price: float, terms: Terms) -> float:
    """Commission of one execution, currency."""
    charged: float = quantity * price * terms.commission + quantity * terms.per_share
    return max(charged, terms.minimum)


@compiled
def units_asked(equity: float, close: float, terms: Terms) -> float:
    """What an entry asks for."""
    worst = close * (1.0 + (terms.collar if terms.collar > 0.0 else terms.slippage))
    units: float = on_step(terms.fraction * equity / (worst * (1.0 + terms.commission) + terms.per_share), terms.step)
    return units


@compiled
def affordable(quantity: float, cash: float, price: float, terms: Terms) -> float:
    """As much of `quantity` as the cash pays with its commission."""
    if quantity * price + fee_of(quantity, price, terms) <= cash:
        return quantity
    most = min(cash / (price * (1.0 + terms.commission) + terms.per_share), (cash - terms.minimum) / price)
    units: float = on_step(min(quantity, most), terms.step)
    return units


@compiled
def on_step(quantity: float, step: float) -> float:
    """`quantity` down to the step."""
    return math.floor(quantity / step + 1e-9) * step if step > 0.0 else quantity
