"""How much the members of an ensemble agree, and how often that agreement was right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from app.domain.bar import Floats
from app.domain.errors import InvalidInput

BIN_EDGES = (0.0, 0.3, 0.5, 0.7, 0.85, 1.0)
_erf = np.vectorize(math.erf, otypes=[np.float64])


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Forecasts with low <= confidence < high (the last bin includes 1): how many, and the share whose sign was right.

    hit_fraction: None when the bin is empty. Outcomes of exactly zero are left out.
    """

    low: float
    high: float
    count: int
    hit_fraction: float | None


def confidence(members: Floats) -> Floats:
    """erf(|m| / (s * sqrt 2)) along the last axis: the share of a normal spread that lies on the mean's side, rescaled to
    0..1.

    m: mean of the members. s: their sample standard deviation (n - 1), the more cautious choice for six members.
    s = 0 gives 1 when m != 0; m = 0 gives 0. NaN where a member is not finite. members: shape (..., n_members), n >= 2.
    """
    members = np.asarray(members, dtype=np.float64)
    if members.shape[-1] < 2:
        raise InvalidInput("confidence needs at least two members")
    mean = np.abs(members.mean(axis=-1))
    spread = members.std(axis=-1, ddof=1)
    # Six times the same number may have a spread of one rounding error; that is agreement, and erf answers 1 to it.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        z = np.where(spread > 0.0, mean / (spread * math.sqrt(2.0)), np.inf)
    return np.where(np.isfinite(members).all(axis=-1), np.where(mean == 0.0, 0.0, _erf(z)), np.nan)


def reliability(forecast: Floats, confidences: Floats, outcome: Floats) -> tuple[ReliabilityBin, ...]:
    """How often the sign of `forecast` was that of `outcome`, per confidence bin. All shape (n_rows,)."""
    moved = outcome != 0.0
    right = np.sign(forecast) == np.sign(outcome)
    bins = []
    for low, high in pairwise(BIN_EDGES):
        inside = moved & (confidences >= low) & ((confidences < high) | ((high == BIN_EDGES[-1]) & (confidences <= high)))
        count = int(inside.sum())
        hits = float(right[inside].mean()) if count else None
        bins.append(ReliabilityBin(low=low, high=high, count=count, hit_fraction=hits))
    return tuple(bins)
