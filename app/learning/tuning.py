"""Tuning of one symbol: Optuna looks for parameters with a lower walk-forward loss, on the past only.

The rows that training is judged on (the newest 40 %) are never looked at, so the scores of a model trained with tuned
parameters stay out of sample. The defaults are the first trial, and tuned parameters must beat them to be kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np

from app.domain.bar import BarSeries
from app.learning.ensemble import MemberSpan, fit, predict
from app.learning.labels import Examples
from app.learning.model import TunedParams
from app.learning.parameters import BOUNDS, DEFAULT_PARAMS, EnsembleParams
from app.learning.splits import walk_forward
from app.learning.training import first_judged, known_examples

# One member of each library on all rows: a quarter of the work of the ensemble, and it ranks parameters alike.
_MEMBERS: tuple[MemberSpan, ...] = (("lightgbm", 0.0, 1.0), ("xgboost", 0.0, 1.0))
_FOLDS = 3
_FIRST_TEST_FRACTION = 0.4
# A neighbourhood of the defaults. Wider, and tuning on noisy days settles for trees that hardly learn: a better loss on the
# rows it saw, a worse one afterwards (seen on 32 US stocks).
_SEARCH: dict[str, tuple[float, float]] = {
    "rounds": (30, 100),
    "learning_rate": (0.015, 0.06),
    "leaves": (3, 10),
    "min_leaf_rows": (20, 80),
    "l2": (10.0, 200.0),
    "feature_fraction": (0.3, 0.8),
    "row_fraction": (0.4, 0.8),
}


def tune_symbol(bars: BarSeries, *, at: datetime, trials: int, timeout_seconds: float, seed: int = 7) -> TunedParams:
    """The best parameters found for one symbol from what was known at `at`.

    loss: walk-forward mean squared error over that of forecasting zero. Same data, seed and trials: same answer, unless
    the time ran out first. Raises InvalidInput as training does.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rows = known_examples(bars, at)
    rows = rows.slice(0, first_judged(rows))
    study = optuna.create_study(
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=8),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
    )
    study.enqueue_trial(asdict(DEFAULT_PARAMS))
    study.optimize(lambda trial: _objective(trial, rows, seed), n_trials=trials, timeout=timeout_seconds)
    return TunedParams(
        symbol=bars.symbol,
        params=EnsembleParams(**study.best_params),
        tuned_through=rows.known_through,
        loss=float(study.best_value),
        default_loss=float(study.trials[0].value or study.best_value),
        trials=len(study.trials),
    )


def block_losses(rows: Examples, params: EnsembleParams, *, seed: int) -> Iterator[float]:
    """Squared error of each walk-forward block in turn, over that of forecasting zero in all blocks; the loss is their sum."""
    first = round(len(rows) * _FIRST_TEST_FRACTION)
    naive = float(np.sum(rows.label[first:] ** 2))
    for fold in walk_forward(rows.decided_at, rows.known_at, folds=_FOLDS, first_test=first):
        past, test = rows.slice(0, fold.train_stop), rows.slice(fold.test_start, fold.test_stop)
        forecast = predict(fit(past.features, past.label, params, seed=seed, members=_MEMBERS), test.features).mean(axis=1)
        yield float(np.sum((forecast - test.label) ** 2)) / naive


def _objective(trial: Any, rows: Examples, seed: int) -> float:
    import optuna

    params = EnsembleParams(**{name: _suggest(trial, name) for name in BOUNDS})
    total = 0.0
    for step, part in enumerate(block_losses(rows, params, seed=seed)):
        total += part
        trial.report(total, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return total


def _suggest(trial: Any, name: str) -> Any:
    low, high = _SEARCH[name]
    log = high / low > 10
    if isinstance(low, int):
        return trial.suggest_int(name, low, high, log=log)
    return trial.suggest_float(name, low, high, log=log)
