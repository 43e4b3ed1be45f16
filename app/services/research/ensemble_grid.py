"""The nightly search over the weighted ensemble: every choice of its members with every threshold, over the last months."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from app.strategies.weighted_ensemble import MEMBERS, WeightedEnsemble

_DAYS_A_MONTH = 30.5


def grid_request(
    *, symbols: Sequence[str], thresholds: Sequence[float], window: int, cash: float, months: int, today: date
) -> dict[str, Any]:
    """A request for a sweep. thresholds: of the ensemble. window: bars before the span that warm up the rules. cash: account
    currency. today: the day of the venue's clock; the bars are those of the months before it."""
    return {
        "strategy": WeightedEnsemble.name,
        "grid": {"threshold": list(thresholds)} | {f"weight_{member.name}": [0.0, 1.0] for member in MEMBERS},
        "symbols": list(symbols),
        "timeframe": "1Day",
        "start": (today - timedelta(days=round(months * _DAYS_A_MONTH))).isoformat(),
        "end": today.isoformat(),
        "warmup_bars": window,
        "capital": cash,
    }
