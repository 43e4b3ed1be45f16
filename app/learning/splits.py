"""Splits in time: a model is fitted on labels that were known before the first row it is judged on. Never shuffled."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from app.domain.bar import Seconds
from app.domain.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Rows [0, train_stop) to fit on and [test_start, test_stop) to judge on; the rows between are purged."""

    train_stop: int
    test_start: int
    test_stop: int


def walk_forward(
    decided_at: Seconds, label_known_at: Seconds, *, folds: int, first_test: int, embargo_seconds: int = 0
) -> list[Fold]:
    """`folds` consecutive test blocks of about equal length over the rows from `first_test` on, each with all earlier
    rows whose label was known at least `embargo_seconds` before the block's first decision.

    Both arrays ascend, shape (n_rows,), seconds. Raises InvalidInput when a block or a training part would be empty.
    """
    if not 0 < first_test <= len(decided_at) - folds or folds < 1:
        raise InvalidInput(f"{len(decided_at)} rows cannot be split into {folds} test blocks from row {first_test} on")
    edges = np.linspace(first_test, len(decided_at), folds + 1).round().astype(int)
    out = []
    for start, stop in pairwise(edges):
        train_stop = int(np.searchsorted(label_known_at, decided_at[start] - embargo_seconds, side="right"))
        train_stop = min(train_stop, int(start))
        if train_stop < 1:
            raise InvalidInput("no row is left to fit on before the first test block")
        out.append(Fold(train_stop=train_stop, test_start=int(start), test_stop=int(stop)))
    return out
