"""A trial: one configuration that was evaluated on a data set. Every one counts against the luck of the best."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from app.domain.panel import Panel


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
        return _hashed([self.dataset, self.strategy, _floats(self.values), dict(self.setup)])

    @property
    def configuration(self) -> str:
        """What was tried, whatever the data: strategy, values and setup."""
        return _hashed([self.strategy, _floats(self.values), dict(self.setup)])

    @property
    def sharpe_ratio(self) -> float:
        """Mean over deviation, per observation (not annualised); 0 where nothing moved."""
        return self.mean / self.deviation if self.deviation > 0 else 0.0

    @property
    def t_statistic(self) -> float:
        """The Sharpe ratio times the root of the observations less one: about standard normal without an edge, whatever the
        frequency and the length of the data."""
        return self.sharpe_ratio * math.sqrt(max(self.observations - 1, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """What a trial was evaluated on. digest: `Panel.digest`. start: the first bar's label; end: when the last was known."""

    digest: str
    symbols: tuple[str, ...]
    timeframe: str
    start: datetime
    end: datetime


def data_set(panel: Panel) -> DataSet:
    """Who `panel` is, for the ledger of trials. It must have bars."""
    return DataSet(
        digest=panel.digest(),
        symbols=panel.symbols,
        timeframe=panel.timeframe,
        start=datetime.fromtimestamp(int(panel.timestamp[0]), UTC),
        end=datetime.fromtimestamp(int(panel.known_at[-1]), UTC),
    )


def settings_key(strategy: str, values: Mapping[str, float]) -> str:
    """A strategy with its parameters as one short word, the same for 5 and 5.0."""
    return _hashed([strategy, _floats(values)])


def _floats(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


def _hashed(named: list[Any]) -> str:
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:32]
