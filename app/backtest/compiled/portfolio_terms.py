"""Prices, quantities and costs as a venue knows them, in compiled floats.

Each function gives the float nearest to what `app.domain.instrument`, `app.engine.costs` and `app.engine.orders` compute in
decimals: a price on the tick is an integer divided by a power of ten, which a float names exactly as its decimal does. Where a
product of floats misses a tick by rounding alone it counts as being on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit

from app.domain.bar import Floats
from app.domain.instrument import Instrument
from app.engine.costs import CostModel

_NEAR = 4e-15  # relative; what a few roundings of float64 add up to
_CENT = 100.0


class Steps(NamedTuple):
    """Trading rules. from_price, per_unit: shape (n_symbols, n_rows), ticks in a unit of currency from each price on, highest
    first. quantity_step, per_step, minimum_notional, tradable: shape (n_symbols,); per_step: steps in a unit, 0.0 for a step
    above one."""

    from_price: Floats
    per_unit: Floats
    quantity_step: Floats
    per_step: Floats
    minimum_notional: Floats
    tradable: Floats


class Costs(NamedTuple):
    """A `CostModel` in floats. taking: slippage and half spread; both and impact in bps, commission as a fraction of value."""

    taking: float
    impact: float
    commission: float
    per_share: float
    minimum: float


def steps_of(instruments: Sequence[Instrument]) -> Steps | None:
    """The trading rules, None where a step is no power of ten or no tick is defined from zero up."""
    kinds: dict[tuple[object, ...], int] = {}  # thousands of symbols share a few rules
    kept: list[Instrument] = []
    number = np.empty(len(instruments), dtype=np.int64)
    for i, one in enumerate(instruments):
        key = (one.price_ticks, one.quantity_step, one.fraction_step, one.minimum_notional, one.tradable)
        number[i] = kinds.setdefault(key, len(kinds))
        if len(kinds) > len(kept):
            kept.append(one)
    steps = _steps_of_each(kept)
    return None if steps is None else Steps(*(array[number] for array in steps))


def _steps_of_each(instruments: Sequence[Instrument]) -> Steps | None:
    rows = max((len(one.price_ticks) for one in instruments), default=1)
    from_price, per_unit = np.zeros((len(instruments), rows)), np.ones((len(instruments), rows))
    for i, one in enumerate(instruments):
        if one.price_ticks[-1][0] != 0 or not all(_is_power_of_ten(tick) for _, tick in one.price_ticks):
            return None
        if not (_is_power_of_ten(one.quantity_step) and one.fraction_step <= one.quantity_step):
            return None
        for k in range(rows):
            start, tick = one.price_ticks[min(k, len(one.price_ticks) - 1)]
            from_price[i, k], per_unit[i, k] = float(start), float(1 / tick)
    return Steps(
        from_price,
        per_unit,
        np.array([float(one.quantity_step) for one in instruments]),
        np.array([float(1 / one.quantity_step) if one.quantity_step <= 1 else 0.0 for one in instruments]),
        np.array([float(one.minimum_notional) for one in instruments]),
        np.array([1.0 if one.tradable else 0.0 for one in instruments]),
    )


def costs_of(model: CostModel) -> Costs:
    """The same costs in floats."""
    return Costs(
        float(model.slippage_bps + model.half_spread_bps),
        float(model.impact_bps),
        float(model.commission_bps) * 1e-4,
        float(model.commission_per_share),
        float(model.minimum_commission),
    )


@lru_cache(maxsize=256)
def _is_power_of_ten(step: Decimal) -> bool:
    return step > 0 and Decimal(10) ** step.adjusted() == step


@njit(cache=True, inline="always")
def _ticks_at(i: int, price: float, steps: Steps) -> float:
    """Ticks in a unit of currency at a price."""
    for k in range(steps.from_price.shape[1] - 1):
        if price >= steps.from_price[i, k]:
            return float(steps.per_unit[i, k])
    return float(steps.per_unit[i, -1])


@njit(cache=True, inline="always")
def nearest(i: int, price: float, steps: Steps) -> float:
    """The price on the nearest tick, half to even."""
    per = _ticks_at(i, price, steps)
    ticks = price * per
    whole = float(math.floor(ticks))
    part = ticks - whole
    if abs(part - 0.5) <= _NEAR * ticks:
        whole += whole % 2.0
    elif part > 0.5:
        whole += 1.0
    return float(whole / per)


@njit(cache=True, inline="always")
def below(i: int, price: float, steps: Steps) -> float:
    """The price on the tick, never above the given one."""
    per = _ticks_at(i, price, steps)
    return float(math.floor(price * per * (1.0 + _NEAR)) / per)


@njit(cache=True, inline="always")
def above(i: int, price: float, steps: Steps) -> float:
    """The price on the tick, never below the given one."""
    per = _ticks_at(i, price, steps)
    return float(math.ceil(price * per * (1.0 - _NEAR)) / per)


@njit(cache=True, inline="always")
def tick(i: int, price: float, steps: Steps) -> float:
    """The price step in force at a price."""
    return float(1.0 / _ticks_at(i, price, steps))


@njit(cache=True, inline="always")
def on_step(i: int, units: float, steps: Steps) -> float:
    """Units on the quantity step: one less where their float lies below the decimal of the step."""
    per = steps.per_step[i]
    if per == 0.0:
        return units
    whole = np.rint(units * per)
    return float(whole / per if units >= whole / per else (whole - 1.0) / per)


@njit(cache=True)
def cents_above(amount: float) -> float:
    """Money rounded up to the cent."""
    return float(math.ceil(amount * _CENT * (1.0 - _NEAR)) / _CENT)


@njit(cache=True, inline="always")
def taken_at(i: int, price: float, sign: float, quantity: float, volume: float, costs: Costs, steps: Steps) -> float:
    """What a fill that takes liquidity pays or gets: `CostModel.fill_price`. sign: 1.0 for a buy, -1.0 for a sell."""
    bps = costs.taking
    if costs.impact > 0.0:
        bps += costs.impact * math.sqrt(min(1.0, quantity / volume) if volume > 0.0 else 1.0)
    found = nearest(i, price * (1.0 + bps * 1e-4 * sign), steps)
    return float(max(found, tick(i, 0.0, steps)))


@njit(cache=True)
def commission(quantity: float, price: float, costs: Costs) -> float:
    """Commission of one execution, currency."""
    return float(max(quantity * price * costs.commission + quantity * costs.per_share, costs.minimum))
