"""Crossing averages on one instrument, long only, in plain numpy: the whole equity in at the open after a cross up, out at the
open after a cross down."""

from __future__ import annotations

import numpy as np

from app.backtest.luck import Stay

Swept = tuple[np.ndarray, list[list[Stay]]]


def sweep(opens: np.ndarray, closes: np.ndarray, sets: list[dict[str, float]], cost: float) -> Swept:
    """(returns, shape (n_bars, n_sets), holdings of each set). cost: fraction of the value of every fill."""
    means = {length: _mean(closes, int(length)) for values in sets for length in values.values()}
    runs = [_run(opens, closes, means[values["fast"]], means[values["slow"]], cost) for values in sets]
    return np.stack([returns for returns, _ in runs], axis=1), [stays for _, stays in runs]


def _run(
    opens: np.ndarray, closes: np.ndarray, fast: np.ndarray, slow: np.ndarray, cost: float
) -> tuple[np.ndarray, list[Stay]]:
    above, known = fast > slow, ~np.isnan(slow)
    crossed = np.flatnonzero((above[1:] != above[:-1]) & known[:-1]) + 1
    wanted = np.zeros(len(closes), dtype=bool)
    if len(crossed):
        first = crossed[0] if above[crossed[0]] else crossed[1] if len(crossed) > 1 else len(closes)
        wanted[first:] = above[first:]
    holds = np.concatenate(([False], wanted[:-1]))
    held = np.concatenate(([False], holds[:-1]))
    previous = np.concatenate(([closes[0]], closes[:-1]))
    returns = np.where(holds & held, closes / previous - 1, 0.0)
    returns = np.where(holds & ~held, closes / opens * (1 - cost) - 1, returns)
    returns = np.where(~holds & held, opens / previous * (1 - cost) - 1, returns)
    entered, left = np.flatnonzero(holds & ~held), np.flatnonzero(~holds & held)
    ends = [*left.tolist(), len(closes) - 1][: len(entered)]
    return returns, [Stay(symbol=0, entered=a, left=b) for a, b in zip(entered.tolist(), ends, strict=True)]


def _mean(closes: np.ndarray, length: int) -> np.ndarray:
    total = np.concatenate(([0.0], np.cumsum(closes)))
    found = np.full(len(closes), np.nan)
    found[length - 1 :] = (total[length:] - total[:-length]) / length
    return found
