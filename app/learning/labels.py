"""Labels: what the models learn to forecast, and when each became known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from app.domain.bar import BarSeries, Floats, Seconds
from app.learning.features import feature_matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Rows to learn from, in time order.

    features: (n_rows, n_features), finite. label: (n_rows,), the return from this close to the next, a fraction.
    last_return: (n_rows,), the return into this close (a naive forecast). decided_at, known_at: (n_rows,), when the row
    and its label became known, seconds since 1970 UTC.
    """

    features: Floats
    label: Floats
    last_return: Floats
    decided_at: Seconds
    known_at: Seconds

    def __len__(self) -> int:
        return len(self.label)

    def slice(self, start: int, stop: int) -> Examples:
        """Rows with index start <= i < stop."""
        part = slice(start, stop)
        return Examples(
            features=self.features[part],
            label=self.label[part],
            last_return=self.last_return[part],
            decided_at=self.decided_at[part],
            known_at=self.known_at[part],
        )

    @property
    def known_through(self) -> datetime:
        """When the newest label became known; a model fitted on these rows knows nothing later."""
        return datetime.fromtimestamp(int(self.known_at.max()), UTC)


def next_return(close: Floats) -> Floats:
    """close[t+1] / close[t] - 1; the last is NaN: its label is not known yet."""
    out = np.full(len(close), np.nan)
    out[:-1] = close[1:] / close[:-1] - 1.0
    return out


def examples(bars: BarSeries) -> Examples:
    """Every bar with 120 sound bars behind it and a sound next close."""
    features = feature_matrix(bars)
    with np.errstate(all="ignore"):
        label = next_return(bars.close)
    known_at = np.append(bars.known_at[1:], np.iinfo(np.int64).max)
    usable = np.isfinite(features).all(axis=1) & np.isfinite(label) & (label > -1.0)
    return Examples(
        features=features[usable],
        label=label[usable],
        last_return=features[usable, 0],
        decided_at=bars.known_at[usable],
        known_at=known_at[usable],
    )
