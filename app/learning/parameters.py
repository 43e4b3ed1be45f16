"""Hyper-parameters of the ensemble: few, bounded, the same for both libraries."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from app.domain.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleParams:
    """Parameters of every member. Defaults suit a few hundred to a few thousand noisy daily rows: shallow, slow, damped.

    rounds: trees a member. learning_rate: shrinkage of each tree. leaves: most leaves a tree. min_leaf_rows: fewest rows
    a leaf. l2: rows' worth of evidence for zero in every leaf. feature_fraction: features a tree may use.
    row_fraction: rows a tree is grown on.
    """

    rounds: int = 60
    learning_rate: float = 0.03
    leaves: int = 6
    min_leaf_rows: int = 40
    l2: float = 50.0
    feature_fraction: float = 0.5
    row_fraction: float = 0.6

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            low, high = BOUNDS[field.name]
            whole = isinstance(low, int)
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not math.isfinite(value):
                raise InvalidInput(f"{field.name} must be a {'whole ' if whole else ''}number, got {value!r}")
            if not low <= value <= high:
                raise InvalidInput(f"{field.name} must lie in {low}..{high}, got {value}")


BOUNDS: dict[str, tuple[float, float]] = {
    "rounds": (5, 400),
    "learning_rate": (0.002, 0.3),
    "leaves": (2, 31),
    "min_leaf_rows": (5, 400),
    "l2": (0.0, 1000.0),
    "feature_fraction": (0.1, 1.0),
    "row_fraction": (0.2, 1.0),
}
DEFAULT_PARAMS = EnsembleParams()
