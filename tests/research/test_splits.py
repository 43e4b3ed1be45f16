"""Splits: laws over random label times, and the very splits of skfolio 1.12.2 where the two are comparable."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from app.domain.errors import InvalidInput
from app.learning.splits import backtest_paths, combinatorial_purged, group_edges, windows


def tape(seed, rows):
    """Decisions at uneven times, each with a label known 1 to 40 seconds later and never later than the next row's is known."""
    draw = np.random.default_rng(seed)
    decided = np.cumsum(draw.integers(1, 10, rows))
    return decided, np.maximum.accumulate(decided + draw.integers(1, 41, rows))


TAPES = st.builds(tape, st.integers(0, 2**32 - 1), st.integers(12, 60))
UNHURRIED = settings(deadline=None, suppress_health_check=list(HealthCheck))


def made(split, *arguments, **options):
    try:
        return split(*arguments, **options)
    except InvalidInput:
        assume(False)


def is_clear(decided, label, train, block, embargo):
    return all(
        label[row] <= decided[block[0]] - embargo or decided[row] >= max(label[i] for i in block) + embargo for row in train
    )


@UNHURRIED
@given(tape=TAPES, groups=st.integers(2, 7), tested=st.integers(1, 6), embargo=st.integers(0, 12))
def test_combinatorial_splits_leak_nothing_and_test_every_row_equally_often(tape, groups, tested, embargo):
    decided, label = tape
    assume(tested < groups)
    splits = made(combinatorial_purged, decided, label, groups=groups, tested=tested, embargo_seconds=embargo)
    edges = group_edges(len(decided), groups)
    assert [split.groups for split in splits] == list(combinations(range(groups), tested))
    times = Counter(int(row) for split in splits for row in split.test)
    assert times == dict.fromkeys(range(len(decided)), comb(groups - 1, tested - 1))
    for split in splits:
        assert not set(split.train) & set(split.test)
        blocks = [range(edges[group], edges[group + 1]) for group in split.groups]
        assert all(is_clear(decided, label, split.train, block, embargo) for block in blocks)
        left_out = set(range(len(decided))) - set(split.train) - set(split.test)
        # What is purged had to be: nothing else is thrown away.
        assert not any(all(is_clear(decided, label, [row], block, embargo) for block in blocks) for row in left_out)


@UNHURRIED
@given(groups=st.integers(2, 9), tested=st.integers(1, 8))
def test_paths_judge_every_group_once_and_use_every_test_group_once(groups, tested):
    assume(tested < groups)
    paths, chosen = backtest_paths(groups, tested), list(combinations(range(groups), tested))
    assert paths.shape == (comb(groups - 1, tested - 1), groups)
    used = Counter((int(split), group) for path in paths for group, split in enumerate(path))
    assert used == Counter((number, group) for number, split in enumerate(chosen) for group in split)


@UNHURRIED
@given(tape=TAPES, train=st.integers(1, 30), test=st.integers(1, 20), anchored=st.booleans(), embargo=st.integers(0, 12))
def test_windows_judge_every_later_row_once_on_what_was_known_before(tape, train, test, anchored, embargo):
    decided, label = tape
    splits = made(windows, decided, label, train_rows=train, test_rows=test, anchored=anchored, embargo_seconds=embargo)
    assert [int(row) for split in splits for row in split.test] == list(range(train, len(decided)))
    for split in splits:
        assert (label[split.train] <= decided[split.test[0]] - embargo).all()
        assert np.array_equal(split.train, np.arange(split.train[0], split.train[-1] + 1))
        assert len(split.train) <= train or anchored
        if anchored:
            assert split.train[0] == 0


def listed(splits):
    return [(split.train.tolist(), split.test.tolist()) for split in splits]


def test_combinatorial_splits_are_those_of_skfolio():
    decided = np.arange(12)
    unpurged = combinatorial_purged(decided, decided + 1, groups=4, tested=2)
    assert [train for train, _ in listed(unpurged)] == [
        [6, 7, 8, 9, 10, 11],
        [3, 4, 5, 9, 10, 11],
        [3, 4, 5, 6, 7, 8],
        [0, 1, 2, 9, 10, 11],
        [0, 1, 2, 6, 7, 8],
        [0, 1, 2, 3, 4, 5],
    ]
    # A label one row longer is what skfolio calls purged_size=1.
    purged = combinatorial_purged(decided, decided + 2, groups=4, tested=2)
    assert [train for train, _ in listed(purged)] == [
        [7, 8, 9, 10, 11],
        [4, 10, 11],
        [4, 5, 6, 7],
        [0, 1, 10, 11],
        [0, 1, 7],
        [0, 1, 2, 3, 4],
    ]
    # skfolio's path ids by split and tested group, turned round.
    assert backtest_paths(4, 2).tolist() == [[0, 0, 1, 2], [1, 3, 3, 4], [2, 4, 5, 5]]


@pytest.mark.parametrize(("groups", "tested", "splits", "paths"), [(10, 2, 45, 9), (6, 3, 20, 10), (10, 8, 45, 36)])
def test_counts_are_those_of_skfolio(groups, tested, splits, paths):
    decided = np.arange(100)
    assert len(combinatorial_purged(decided, decided + 1, groups=groups, tested=tested)) == splits
    assert len(backtest_paths(groups, tested)) == paths


def test_windows_are_those_of_skfolio():
    decided = np.arange(14)
    rolling = windows(decided, decided + 1, train_rows=5, test_rows=3)
    assert listed(rolling) == [
        ([0, 1, 2, 3, 4], [5, 6, 7]),
        ([3, 4, 5, 6, 7], [8, 9, 10]),
        ([6, 7, 8, 9, 10], [11, 12, 13]),
    ]
    anchored = windows(decided, decided + 1, train_rows=5, test_rows=3, anchored=True)
    assert [len(train) for train, _ in listed(anchored)] == [5, 8, 11]


@pytest.mark.parametrize(
    "faulty",
    [
        lambda d: combinatorial_purged(d, d + 1, groups=4, tested=4),
        lambda d: combinatorial_purged(d, d + 1, groups=40, tested=2),
        lambda d: combinatorial_purged(d, d + 30, groups=4, tested=2),
        lambda d: windows(d, d + 1, train_rows=20, test_rows=1),
        lambda d: windows(d, d + 30, train_rows=5, test_rows=1),
    ],
)
def test_what_cannot_be_split_is_refused(faulty):
    with pytest.raises(InvalidInput):
        faulty(np.arange(20))
