"""Training of one symbol: judged out of sample first, then fitted on everything known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from app.domain.bar import BarSeries, Floats
from app.domain.errors import InvalidInput
from app.learning.confidence import confidence, reliability
from app.learning.ensemble import MEMBERS, MemberSpan, fit, predict
from app.learning.features import FEATURE_NAMES
from app.learning.labels import Examples, examples
from app.learning.model import Scores, StoredMember, TrainedModel
from app.learning.parameters import EnsembleParams
from app.learning.splits import walk_forward

MINIMUM_BARS = 400
HISTORY_BARS = 1500 + 120
JUDGED_FRACTION = 0.4
_FOLDS = 3
_CONFIDENT = 0.7


def known_examples(bars: BarSeries, at: datetime) -> Examples:
    """Examples whose labels were known by `at`, from the newest 1,620 bars. Raises InvalidInput for fewer than 400 bars."""
    known = bars.known_by(at).last(HISTORY_BARS)
    if len(known) < MINIMUM_BARS:
        raise InvalidInput(
            f"{bars.symbol}: training needs {MINIMUM_BARS} completed daily bars; {len(known)} were known by {at:%Y-%m-%d}",
            code="too_few_bars",
        )
    rows = examples(known)
    if len(rows) < MINIMUM_BARS - 121:
        raise InvalidInput(
            f"{bars.symbol}: only {len(rows)} of {len(known)} bars have 120 sound bars behind them", code="not_finite"
        )
    return rows


def first_judged(rows: Examples) -> int:
    """Index of the first row that training is judged on; tuning sees only rows before it."""
    return len(rows) - round(len(rows) * JUDGED_FRACTION)


def train_symbol(
    bars: BarSeries,
    params: EnsembleParams,
    *,
    trained_at: datetime,
    seed: int = 7,
    params_source: str = "default",
    members: Sequence[MemberSpan] = MEMBERS,
) -> TrainedModel:
    """A model of one symbol from the daily bars known by `trained_at`.

    Raises InvalidInput for fewer than 400 bars, for bars that are not sound, and for prices that never move.
    """
    rows = known_examples(bars, trained_at)
    scores = judge(rows, params, seed=seed, members=members)
    fitted = fit(rows.features, rows.label, params, seed=seed, members=members)
    return TrainedModel(
        symbol=bars.symbol,
        members=tuple(StoredMember(library=m.library, scale=m.scale, payload=m.payload()) for m in fitted),
        feature_names=FEATURE_NAMES,
        params=params,
        params_source=params_source,
        seed=seed,
        trained_at=trained_at,
        trained_through=rows.known_through,
        rows=len(rows),
        libraries=_libraries(),
        scores=scores,
    )


def judge(
    rows: Examples, params: EnsembleParams, *, seed: int, members: Sequence[MemberSpan] = MEMBERS, folds: int = _FOLDS
) -> Scores:
    """Walk-forward scores over the newest 40 % of the rows: each block forecast by an ensemble fitted on what was known
    before it."""
    start = first_judged(rows)
    forecasts = forecast_forward(rows, params, seed=seed, members=members, folds=folds, first_test=start)
    return _scores(rows.slice(start, len(rows)), forecasts)


def forecast_forward(
    rows: Examples, params: EnsembleParams, *, seed: int, members: Sequence[MemberSpan], folds: int, first_test: int
) -> Floats:
    """Out-of-sample forecasts of the rows from `first_test` on, shape (n_rows - first_test, n_members), fractions."""
    parts = []
    for fold in walk_forward(rows.decided_at, rows.known_at, folds=folds, first_test=first_test):
        past = rows.slice(0, fold.train_stop)
        fitted = fit(past.features, past.label, params, seed=seed, members=members)
        parts.append(predict(fitted, rows.features[fold.test_start : fold.test_stop]))
    return np.concatenate(parts)


def _scores(rows: Examples, members: Floats) -> Scores:
    forecast, outcome = members.mean(axis=1), rows.label
    mse = float(np.mean((forecast - outcome) ** 2))
    moved = outcome != 0.0
    if not moved.any():
        raise InvalidInput("the price did not move on any day to be judged: nothing can be learnt from it")
    certain = confidence(members)
    return Scores(
        rows=len(outcome),
        judged_from=datetime.fromtimestamp(int(rows.decided_at[0]), UTC),
        mse=mse,
        mse_over_zero=mse / float(np.mean(outcome**2)),
        mse_over_last=mse / float(np.mean((rows.last_return - outcome) ** 2)),
        directional_accuracy=float((np.sign(forecast) == np.sign(outcome))[moved].mean()),
        always_up_accuracy=float((outcome > 0)[moved].mean()),
        confident_fraction=float((certain >= _CONFIDENT).mean()),
        reliability=reliability(forecast, certain, outcome),
    )


def _libraries() -> dict[str, str]:
    found = {"numpy": np.__version__}
    for name, distributions in {"lightgbm": ["lightgbm"], "xgboost": ["xgboost", "xgboost-cpu"], "numba": ["numba"]}.items():
        for distribution in distributions:
            try:
                found[name] = version(distribution)
            except PackageNotFoundError:
                continue
            break
    return found
