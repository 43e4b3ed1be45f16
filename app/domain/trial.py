"""A trial: one configuration that was evaluated on a data set. Every one counts against the luck of the best."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What was tried, on what, and how it did.

    dataset: digest of the data (`Panel.digest`). strategy: its name. values: its parameters. setup: everything else that
    changes the answer (costs, fill rule, limits, capital), as plain JSON values. source: sweep, tuning, walk_forward, backtest.
    observations: number of returns. mean, deviation: of the returns per bar or session, a sample deviation. skewness: third
    standardised moment; kurtosis: fourth, 3 for a normal one. figures: what else is worth keeping (total_return, max_drawdown).
    """

    dataset: str
    strategy: str
    values: Mapping[str, float]
    setup: Mapping[str, Any]
    source: str
    evaluated_at: datetime
    observations: int
    mean: float
    deviation: float
    skewness: float
    kurtosis: float
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def trial_id(self) -> str:
        """The same configuration on the same data is the same trial, however often it is evaluated."""
        named = [self.dataset, self.strategy, dict(self.values), dict(self.setup)]
        return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:32]

    @property
    def sharpe_ratio(self) -> float:
        """Mean over deviation, per observation (not annualised); 0 where nothing moved."""
        return self.mean / self.deviation if self.deviation > 0 else 0.0
