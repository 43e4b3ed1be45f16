"""The arithmetic of every rule in one compiled function over arrays: screening, exits, ranking, sizing, replacement.

Live trading calls it once a cycle, the backtest once a simulated decision: parity holds by construction. Comparisons are
written so that NaN refuses. The exact check of the final orders is `app.risk.checks`.
"""

from app.engine.rules.judgement import apply_rules, judge
from app.engine.rules.measures import is_stressed, is_stressed_each, market_stress
from app.engine.rules.values import (
    BUY,
    NOTHING,
    SELL,
    Heard,
    Holdings,
    Integers,
    Market,
    Measures,
    Money,
    Outcome,
    Sleeves,
    Venue,
    Work,
    policy_of,
    room_for,
    rules_row,
)

__all__ = [
    "BUY",
    "NOTHING",
    "SELL",
    "Heard",
    "Holdings",
    "Integers",
    "Market",
    "Measures",
    "Money",
    "Outcome",
    "Sleeves",
    "Venue",
    "Work",
    "apply_rules",
    "is_stressed",
    "is_stressed_each",
    "judge",
    "market_stress",
    "policy_of",
    "room_for",
    "rules_row",
]
