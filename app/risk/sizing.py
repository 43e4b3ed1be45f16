"""How much of a symbol to buy: the least of its bounds (decision 12). Compiled; all money in account currency."""

from __future__ import annotations

import math

from numba import njit

from app.risk.limits import RiskLimits

BOUNDS = ("volatility", "risk_per_trade", "position_size", "exposure", "buying_power", "budget")
Bounds = tuple[float, float, float, float, float, float]


@njit(cache=True)
def entry_bounds(
    worst_price: float,
    volatility: float,
    equity: float,
    gross_value: float,
    buying_power: float,
    room: float,
    stop_loss_fraction: float,
    limits: RiskLimits,
) -> Bounds:
    """Units permitted by each of `BOUNDS`, before headroom and rounding.

    worst_price: the most the entry may pay. volatility: daily standard deviation of log returns (> 0).
    gross_value: holdings plus open buys at their worst price. room: what is left of the budget, infinite where there is none.
    stop_loss_fraction: distance of the first stop.
    """
    return (
        limits.target_volatility_fraction * equity / (volatility * worst_price),
        limits.risk_per_trade_fraction * equity / (stop_loss_fraction * worst_price),
        limits.max_position_fraction * equity / worst_price,
        (limits.max_exposure_fraction * equity - gross_value) / worst_price,
        buying_power / worst_price,
        room / worst_price,
    )


@njit(cache=True)
def entry_quantity(bounds: Bounds, step: float, limits: RiskLimits) -> tuple[float, int]:
    """(units on the step, index of the deciding bound); 0 units when no bound leaves a step."""
    least = 0
    for i in range(1, 6):
        if bounds[i] < bounds[least] or math.isnan(bounds[i]):
            least = i
    permitted = bounds[least] * (1.0 - limits.headroom_fraction)
    if not (permitted > 0.0):  # NaN lands here too
        return 0.0, least
    return math.floor(permitted / step + 1e-9) * step, least
