"""Splits in time: a model is fitted on labels that were known before the first row it is judged on. Never shuffled.

A row is decided at one instant and its label (the return, the outcome) known at a later one. A training row is clear of a
test block when its label was known `embargo_seconds` before the block's first decision, or it was decided
`embargo_seconds` after the block's last label: rows that are not are purged (Lopez de Prado, Advances in Financial Machine
Learning, 2018, chapters 7 and 12; the embargo is kept on both sides of a block).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import comb

import numpy as np
import numpy.typing as npt

from app.domain.bar import Seconds
from app.domain.errors import InvalidInput

Rows = npt.NDArray[np.int64]
_MOST_SPLITS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Rows [0, train_stop) to fit on and [test_start, test_stop) to judge on; the rows between are purged."""

    train_stop: int
    test_start: int
    test_stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Row numbers to fit on and to judge on, ascending. groups: numbers of the tested groups, where there are groups."""

    train: Rows
    test: Rows
    groups: tuple[int, ...] = ()


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
        train_stop = _train_stop(decided_at, label_known_at, int(start), embargo_seconds)
        if train_stop < 1:
            raise InvalidInput("no row is left to fit on before the first test block")
        out.append(Fold(train_stop=train_stop, test_start=int(start), test_stop=int(stop)))
    return out


def windows(
    decided_at: Seconds,
    label_known_at: Seconds,
    *,
    train_rows: int,
    test_rows: int,
    anchored: bool = False,
    embargo_seconds: int = 0,
) -> list[Split]:
    """Walk-forward windows: test blocks of `test_rows` (the last may be shorter) one after the other from row `train_rows`
    on, each with the newest `train_rows` rows that are clear of it, or all of them if `anchored`.

    Both arrays ascend, shape (n_rows,), seconds. Raises InvalidInput when there is no row to judge or none to fit on.
    """
    if train_rows < 1 or test_rows < 1 or len(decided_at) <= train_rows:
        raise InvalidInput(
            f"{len(decided_at)} bars are too few to fit on {train_rows} and judge on {test_rows}: shorten the windows"
        )
    out = []
    for start in range(train_rows, len(decided_at), test_rows):
        stop = _train_stop(decided_at, label_known_at, start, embargo_seconds)
        first = 0 if anchored else max(0, stop - train_rows)
        if stop - first < 1:
            raise InvalidInput("no row is left to fit on before a test block: lengthen the windows or shorten the embargo")
        test = np.arange(start, min(start + test_rows, len(decided_at)))
        out.append(Split(train=np.arange(first, stop), test=test))
    return out


def combinatorial_purged(
    decided_at: Seconds, label_known_at: Seconds, *, groups: int, tested: int, embargo_seconds: int = 0
) -> list[Split]:
    """Every choice of `tested` out of `groups` consecutive, about equal groups to judge on, in lexicographic order, each
    with all other rows that are clear of the chosen groups.

    decided_at ascends; shapes (n_rows,), seconds. Raises InvalidInput for less than one tested group, no other group, more
    groups than rows, more than 100,000 choices, and when purging leaves nothing to fit on.
    """
    if not 1 <= tested < groups <= len(decided_at):
        raise InvalidInput(f"of {groups} groups over {len(decided_at)} rows, {tested} cannot be tested")
    if comb(groups, tested) > _MOST_SPLITS:
        raise InvalidInput(f"{comb(groups, tested)} splits are too many: choose fewer groups")
    edges = group_edges(len(decided_at), groups)
    out = []
    for chosen in combinations(range(groups), tested):
        is_test = np.zeros(len(decided_at), dtype=bool)
        blocks = [slice(int(edges[group]), int(edges[group + 1])) for group in chosen]
        for block in blocks:
            is_test[block] = True
        ends = [(int(decided_at[block.start]), int(label_known_at[block].max())) for block in blocks]
        train = np.flatnonzero(clear_of(decided_at, label_known_at, ends, embargo_seconds) & ~is_test)
        if not len(train):
            raise InvalidInput("purging leaves no row to fit on: choose longer groups or a shorter embargo")
        out.append(Split(train=train, test=np.flatnonzero(is_test), groups=chosen))
    return out


def clear_of(
    decided_at: Seconds, label_known_at: Seconds, blocks: Iterable[tuple[int, int]], embargo_seconds: int = 0
) -> npt.NDArray[np.bool_]:
    """Which rows share nothing with any test block, each given by its first decision and the instant at which the last of its
    labels was known; shape (n_rows,)."""
    clear = np.ones(len(decided_at), dtype=bool)
    for first, last in blocks:
        clear &= (label_known_at <= first - embargo_seconds) | (decided_at >= last + embargo_seconds)
    return clear


def group_edges(rows: int, groups: int) -> Rows:
    """First rows of each group and the end of the last, shape (groups + 1,); lengths differ by one at most, longer ones
    first."""
    lengths = np.full(groups, rows // groups, dtype=np.int64)
    lengths[: rows % groups] += 1
    return np.concatenate(([0], np.cumsum(lengths)))


def backtest_paths(groups: int, tested: int) -> Rows:
    """Which split judges each group on each path, shape (n_paths, groups), with n_paths = C(groups - 1, tested - 1): every
    path judges all groups once, and every split's test groups are used once over all paths."""
    out = np.zeros((comb(groups - 1, tested - 1), groups), dtype=np.int64)
    used = [0] * groups
    for number, chosen in enumerate(combinations(range(groups), tested)):
        for group in chosen:
            out[used[group], group] = number
            used[group] += 1
    return out


def _train_stop(decided_at: Seconds, label_known_at: Seconds, start: int, embargo_seconds: int) -> int:
    known = int(np.searchsorted(label_known_at, decided_at[start] - embargo_seconds, side="right"))
    return min(known, start)
