"""What a strategy asks of the decision: its thresholds and its exits, in the terms of limits and policy."""

from __future__ import annotations

from app.risk.limits import Policy, RiskLimits
from app.strategies.strategy import Strategy, Values

_NEVER = 2.0  # two scores are never further apart


def strategy_policy(strategy: Strategy, values: Values, policy: Policy) -> Policy:
    """`policy` with the strategy's symmetric threshold and exits. A score is no return: no holding makes room for a symbol of
    a higher one, it is left by its own score or exits."""
    threshold = strategy.threshold(values)
    return policy._replace(
        buy_threshold=threshold,
        sell_threshold=-threshold,
        confidence_threshold=0.0,
        rebalance_margin_fraction=_NEVER,
        exits=strategy.exits,
    )


def strategy_limits(strategy: Strategy, limits: RiskLimits) -> RiskLimits:
    """`limits` with the stop-loss and take-profit of the strategy's exits, which are those in force."""
    return limits._replace(
        stop_loss_fraction=strategy.exits.stop_loss_fraction, take_profit_fraction=strategy.exits.take_profit_fraction
    )
