"""Splits that cannot leak, training that repeats itself, learns what is there and sees no future."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidInput
from app.learning.ensemble import MEMBERS, predict, restore
from app.learning.features import FEATURE_NAMES
from app.learning.labels import examples
from app.learning.parameters import BOUNDS, DEFAULT_PARAMS, EnsembleParams
from app.learning.splits import walk_forward
from app.learning.training import MINIMUM_BARS, train_symbol
from app.learning.tuning import tune_symbol
from tests.learning.series import following_walk, random_walk, when_known

QUICK = EnsembleParams(rounds=8, learning_rate=0.1, min_leaf_rows=20, l2=5.0)


@given(
    count=st.integers(20, 300),
    folds=st.integers(1, 5),
    first=st.floats(0.2, 0.8),
    horizon=st.integers(1, 10),
    embargo=st.integers(0, 3),
)
def test_no_label_of_the_past_ends_after_the_first_judged_decision(
    count: int, folds: int, first: float, horizon: int, embargo: int
) -> None:
    decided = np.arange(count, dtype=np.int64) * 100
    known = decided + horizon * 100
    first_test = round(count * first)
    if first_test < horizon + embargo or first_test > count - folds:
        with pytest.raises(InvalidInput):
            walk_forward(decided, known, folds=folds, first_test=first_test, embargo_seconds=embargo * 100)
        return
    found = walk_forward(decided, known, folds=folds, first_test=first_test, embargo_seconds=embargo * 100)
    assert [f.test_start for f in found] + [count] == [first_test] + [f.test_stop for f in found]
    for fold in found:
        assert fold.test_start < fold.test_stop
        assert known[: fold.train_stop].max() + embargo * 100 <= decided[fold.test_start]
        assert fold.train_stop == fold.test_start - horizon - embargo + 1  # and nothing usable is thrown away


def test_same_bars_and_seed_give_the_same_model_to_the_last_bit() -> None:
    bars = random_walk(420)
    at = when_known(bars, -1)
    first, second = (train_symbol(bars, QUICK, trained_at=at) for _ in range(2))
    assert first == second
    assert [m.library for m in first.members] == [m[0] for m in MEMBERS]
    assert len({m.payload for m in first.members}) == len(MEMBERS) >= 6
    other = train_symbol(bars, QUICK, trained_at=at, seed=8)
    assert other.members != first.members


def test_a_model_read_back_forecasts_the_same() -> None:
    bars = random_walk(420)
    model = train_symbol(bars, QUICK, trained_at=when_known(bars, -1))
    members = [restore(m.library, m.payload, m.scale) for m in model.members]
    rows = examples(bars).features
    assert np.array_equal(predict(members, rows)[5], predict(members, rows[5:6])[0])
    again = [restore(m.library, member.payload(), m.scale) for m, member in zip(model.members, members, strict=True)]
    assert np.array_equal(predict(members, rows), predict(again, rows))
    assert model.feature_names == FEATURE_NAMES


def test_training_knows_nothing_after_its_own_time() -> None:
    bars = random_walk(460)
    at = when_known(bars, 429)
    changed = replace(
        bars,
        **{
            name: np.concatenate((getattr(bars, name)[:430], getattr(bars, name)[430:] * 3))
            for name in ("open", "high", "low", "close")
        },
    )
    model = train_symbol(bars, QUICK, trained_at=at)
    assert model == train_symbol(changed, QUICK, trained_at=at) == train_symbol(bars.slice(0, 430), QUICK, trained_at=at)
    assert model.trained_through == at
    assert tune_symbol(bars, at=at, trials=2, timeout_seconds=60) == tune_symbol(changed, at=at, trials=2, timeout_seconds=60)


def test_what_is_there_is_learnt() -> None:
    bars = following_walk(1000)
    scores = train_symbol(bars, EnsembleParams(rounds=40, learning_rate=0.1, l2=5.0), trained_at=when_known(bars, -1)).scores
    assert scores.mse_over_zero < 0.85
    assert scores.mse_over_last < 0.95
    assert scores.directional_accuracy > 0.6
    sure = scores.reliability[-1]
    assert sure.count > 30
    assert sure.hit_fraction is not None
    assert sure.hit_fraction > 0.65


def test_what_is_not_there_is_not_claimed() -> None:
    bars = random_walk(1000, seed=11)
    scores = train_symbol(bars, DEFAULT_PARAMS, trained_at=when_known(bars, -1)).scores
    assert 0.97 < scores.mse_over_zero < 1.03
    assert 0.42 < scores.directional_accuracy < 0.58


@pytest.mark.parametrize("count", [0, 1, 119, MINIMUM_BARS - 1])
def test_too_little_history_is_refused(count: int) -> None:
    bars = random_walk(500)
    with pytest.raises(InvalidInput, match="needs 400") as refusal:
        train_symbol(bars.slice(0, count), QUICK, trained_at=when_known(bars, -1))
    assert refusal.value.code == "too_few_bars"


def test_prices_that_never_move_are_refused() -> None:
    bars = random_walk(450)
    flat = np.full(len(bars), 10.0)
    with pytest.raises(InvalidInput):
        train_symbol(replace(bars, open=flat, high=flat, low=flat, close=flat), QUICK, trained_at=when_known(bars, -1))


def test_holes_that_leave_too_little_are_refused() -> None:
    bars = random_walk(450)
    close = bars.close.copy()
    close[::100] = np.nan
    with pytest.raises(InvalidInput) as refusal:
        train_symbol(replace(bars, close=close), QUICK, trained_at=when_known(bars, -1))
    assert refusal.value.code == "not_finite"


@pytest.mark.parametrize("name", BOUNDS)
def test_parameters_have_bounds(name: str) -> None:
    low, high = BOUNDS[name]
    EnsembleParams(**{name: low})
    EnsembleParams(**{name: high})
    for bad in (low - 1, high + 1, float("nan"), float("inf"), "5", None, True):
        with pytest.raises(InvalidInput, match=name):
            EnsembleParams(**{name: bad})


def test_tuning_keeps_the_defaults_unless_it_finds_better() -> None:
    bars = following_walk(500)
    tuned = tune_symbol(bars, at=when_known(bars, -1), trials=4, timeout_seconds=60)
    assert tuned == tune_symbol(bars, at=when_known(bars, -1), trials=4, timeout_seconds=60)
    assert tuned.loss <= tuned.default_loss
    assert tuned.trials == 4
    assert tuned.tuned_through < when_known(bars, -100)  # what training is judged on was never seen
