"""The chain of the models before the lookahead analyser: from features over labels, training and confidence to the order.

Each step is a function of the product; `ModelSteps` holds them, so that the same analysis judges another pipeline.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np

from app.backtest.analysers.futures import Bars
from app.backtest.analysers.lookahead import Part, Table, Tables
from app.domain.bar import BarSeries, Floats, Snapshot
from app.domain.forecast import Forecast, Forecaster, NoForecast, Score, SleeveAnswers
from app.domain.instrument import Instrument
from app.domain.trading_state import Cause, RiskState, TradingState
from app.engine.decision import Book, Context, Decision
from app.engine.view import market_view
from app.learning.ensemble import MEMBERS
from app.learning.features import FEATURE_NAMES, feature_matrix
from app.learning.labels import Examples, examples
from app.learning.model import ModelRefused, ModelStore, ParamChoice, ParamStore, PublishedModel, TrainedModel, TunedParams
from app.learning.parameters import DEFAULT_PARAMS
from app.learning.training import first_judged, forecast_forward, known_examples, train_symbol
from app.risk.limits import Policy, RiskLimits
from app.services.ai_service import AIService

FEATURES, LABELS, ROWS, MODEL, CALIBRATION = "features", "labels", "training rows", "model", "calibration"
FORECAST, SIZING, DECISION = "forecast", "sizing", "decision"
_SEED = 7
_CAPITAL = Decimal(100_000)
_JUDGES = (MEMBERS[2],)  # one member judges a block as well as six do


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSteps:
    """The steps of a pipeline, those of the product unless given.

    features: of all bars, (n_bars, n_features). labels: every example with the instants at which it and its label were known.
    rows: the examples that a training at an instant is fitted on. train: the model of a training at an instant. blocks: out of
    sample forecasts of the rows from `first_judged` on. forecaster: answers from stored models; it is given more bars than were
    known.
    """

    features: Callable[[BarSeries], Floats] = feature_matrix
    feature_names: Sequence[str] = FEATURE_NAMES
    labels: Callable[[BarSeries], Examples] = examples
    rows: Callable[[BarSeries, datetime], Examples] = known_examples
    train: Callable[[BarSeries, datetime], TrainedModel] = lambda bars, at: train_symbol(bars, DEFAULT_PARAMS, trained_at=at)
    blocks: Callable[[Examples, int], Floats] = lambda rows, first: forecast_forward(
        rows, DEFAULT_PARAMS, seed=_SEED, members=_JUDGES, folds=2, first_test=first
    )
    forecaster: Callable[[ModelStore, ParamStore], Forecaster] = AIService


def model_chain(steps: ModelSteps, limits: RiskLimits, policy: Policy) -> tuple[Part, ...]:
    """The parts in the order in which one leads to the next."""
    one = _Trained(steps)
    return (
        Part(name=FEATURES, of=lambda bars, _at: {s: _features(steps, series) for s, series in bars.items()}),
        Part(name=LABELS, of=lambda bars, _at: {s: _examples(steps.labels(series)) for s, series in bars.items()}),
        Part(name=ROWS, of=lambda bars, at: {s: _examples(steps.rows(series, at), at) for s, series in bars.items()}),
        Part(name=CALIBRATION, of=lambda bars, at: judged(steps, bars, at), is_costly=True),
        Part(
            name=MODEL, of=lambda bars, at: {s: _model(one.train(series, at), at) for s, series in bars.items()}, is_costly=True
        ),
        Part(name=FORECAST, of=lambda bars, at: _forecasts(one.forecasts(bars, at), at), is_costly=True),
        Part(name=SIZING, of=lambda bars, at: _sizing(one.decide(bars, at, limits, policy), at), is_costly=True),
        Part(name=DECISION, of=lambda bars, at: _decision(one.decide(bars, at, limits, policy), at), is_costly=True),
    )


class _Trained:
    """Models by the bars and the instant they were made from: four parts of the chain want the same ones."""

    def __init__(self, steps: ModelSteps) -> None:
        self._steps = steps
        self._made: dict[tuple[str, datetime], TrainedModel] = {}

    def train(self, bars: BarSeries, at: datetime) -> TrainedModel:
        """The model of a training at `at`, which may be given more bars than were known."""
        key = (_digest(bars), at)
        if key not in self._made:
            self._made[key] = self._steps.train(bars, at)
        return self._made[key]

    def forecasts(self, bars: Bars, at: datetime) -> Mapping[str, Forecast | Score | NoForecast]:
        """Of the models trained at `at`, through the product's forecaster."""
        models = {symbol: self.train(series, at) for symbol, series in bars.items()}
        answers = self._steps.forecaster(_Held(models), _Defaults()).forecast(bars, at)
        return {symbol: told for symbol, told in answers.items() if not isinstance(told, SleeveAnswers)}

    def decide(self, bars: Bars, at: datetime, limits: RiskLimits, policy: Policy) -> Decision:
        """With an empty book, at the last known closes."""
        from app.engine.decide import decide  # the compiled rules weigh 100 MB: only who decides loads them

        known = {symbol: series.known_by(at) for symbol, series in bars.items()}
        view = market_view(
            decided_at=at,
            symbols=tuple(bars),
            snapshots={s: Snapshot(symbol=s, price=float(b.close[-1]), priced_at=at) for s, b in known.items() if len(b)},
            bars=known,
            forecasts=self.forecasts(bars, at),
            is_open=True,
        )
        everything = policy._replace(confidence_threshold=0.0, buy_threshold=-1.0, sell_threshold=-1.0)  # whatever it says
        instruments = {symbol: Instrument(symbol=symbol) for symbol in bars}
        context = Context(account_id="check", strategy="ensemble", cycle_id="check", instruments=instruments)
        return decide(view, _empty_book(at), context, limits, everything)


class _Held:
    """A `ModelStore` in memory."""

    def __init__(self, models: Mapping[str, TrainedModel]) -> None:
        self._models = models

    def version(self, symbol: str) -> str:
        if symbol not in self._models:
            raise ModelRefused("model_missing", f"{symbol} has no trained model")
        return self._models[symbol].trained_through.isoformat()

    def load(self, symbol: str) -> PublishedModel:
        return PublishedModel(version=self.version(symbol), model=self._models[symbol])

    def publish(self, model: TrainedModel) -> str:
        raise NotImplementedError(f"nothing is published while {model.symbol} is checked")

    def symbols(self) -> Sequence[str]:
        return tuple(self._models)


class _Defaults:
    """A `ParamStore` that knows of no tuning."""

    def choose(self, symbol: str, *, at: datetime) -> ParamChoice:  # noqa: ARG002
        return ParamChoice(params=DEFAULT_PARAMS, source="default")

    def save(self, tuned: TunedParams) -> None:
        raise NotImplementedError(f"nothing is tuned while {tuned.symbol} is checked")


def _features(steps: ModelSteps, bars: BarSeries) -> Table:
    matrix = steps.features(bars)
    columns = {name: matrix[:, i] for i, name in enumerate(steps.feature_names)}
    return Table(key=bars.timestamp, known_at=bars.known_at, columns=columns)


def _examples(rows: Examples, at: datetime | None = None) -> Table:
    """at: when the rows were used, which says that their labels were known; None: each claims to be known when its label is."""
    known = rows.known_at if at is None else np.full(len(rows), int(at.timestamp()), dtype=np.int64)
    columns: dict[str, Any] = {
        "label": rows.label,
        "label_known_at": rows.known_at,
        "features": np.array([row.tobytes().hex()[:32] for row in np.ascontiguousarray(rows.features)], dtype=object),
    }
    return Table(key=rows.decided_at, known_at=known, columns=columns)


def judged(steps: ModelSteps, bars: Bars, at: datetime, *, is_blind: bool = False) -> Tables:
    """The first forecast by which a training at `at` is judged. is_blind: with other labels and features in all rows that were
    not known when it was made; it must not change."""
    found = {}
    for symbol, series in bars.items():
        rows = steps.rows(series, at)
        first = first_judged(rows)
        decided = int(rows.decided_at[first])
        forecast = steps.blocks(_otherwise(rows, first + 1, decided) if is_blind else rows, first)[0]
        key = np.array([decided], dtype=np.int64)
        found[symbol] = Table(key=key, known_at=key, columns={"out_of_sample": _one(_hex(forecast))})
    return found


def _otherwise(rows: Examples, later: int, decided: int) -> Examples:
    """The same rows; features from row `later` on and labels unknown at `decided` are others."""
    features, label = rows.features.copy(), rows.label.copy()
    features[later:] = features[later:][::-1]
    unknown = rows.known_at > decided
    label[unknown] = -3.0 * label[unknown][::-1]
    return Examples(
        features=features, label=label, last_return=rows.last_return, decided_at=rows.decided_at, known_at=rows.known_at
    )


def _model(model: TrainedModel, at: datetime) -> Table:
    columns: dict[str, Any] = {
        f"{member.library}_{i}": _one(hashlib.sha256(member.payload).hexdigest()) for i, member in enumerate(model.members)
    }
    scores = {"reliability": _one(repr(model.scores.reliability)), "mse": np.array([model.scores.mse])}
    told = {"trained_through": _one(model.trained_through.isoformat()), "rows": np.array([float(model.rows)])}
    return _row(at, columns | scores | told)


def _forecasts(answers: Mapping[str, Forecast | Score | NoForecast], at: datetime) -> Tables:
    found = {}
    for symbol, told in answers.items():
        if isinstance(told, Forecast):
            columns: dict[str, Any] = {
                "daily_return": np.array([told.daily_return]),
                "confidence": np.array([told.confidence]),
                "members": _one(_hex(np.array(told.members))),
                "last_close": np.array([told.last_close]),
                "last_close_at": _one(told.last_close_at.isoformat()),
            }
        elif isinstance(told, Score):
            columns = {"score": np.array([told.score])}
        else:
            columns = {"refused": _one(told.code)}
        found[symbol] = _row(at, columns)
    return found


def _sizing(decision: Decision, at: datetime) -> Tables:
    found = {}
    for record in decision.records:
        columns: dict[str, Any] = {name: np.array([units]) for name, units in record.sizing.items()}
        columns |= {"volatility": np.array([record.volatility]), "bound": _one(record.sizing_bound or "")}
        found[record.symbol] = _row(at, columns)
    return found


def _decision(decision: Decision, at: datetime) -> Tables:
    orders = {validated.order.symbol: str(validated.order) for validated in decision.orders}
    found = {}
    for record in decision.records:
        terms = {"reason": record.reason.code, "quantity": str(record.quantity), "order": orders.get(record.symbol, "none")}
        found[record.symbol] = _row(at, {name: _one(text) for name, text in terms.items()})
    return found


def _row(at: datetime, columns: Mapping[str, Any]) -> Table:
    second = np.array([int(at.timestamp())], dtype=np.int64)
    return Table(key=second, known_at=second, columns=dict(columns))


def _one(text: str) -> Any:
    return np.array([text], dtype=object)


def _hex(values: Floats) -> str:
    return np.ascontiguousarray(values, dtype="<f8").tobytes().hex()


def _digest(bars: BarSeries) -> str:
    hashed = hashlib.sha256(bars.symbol.encode())
    for name in ("timestamp", "known_at", "open", "high", "low", "close", "volume"):
        hashed.update(np.ascontiguousarray(getattr(bars, name)).tobytes())
    return hashed.hexdigest()


def _empty_book(at: datetime) -> Book:
    session = at.date().isoformat()
    risk = RiskState(
        trading_state=TradingState.ACTIVE,
        cause=Cause.STARTED.code,
        actor="system",
        since=at,
        baseline_equity=_CAPITAL,
        baseline_session=session,
        high_water_equity=_CAPITAL,
    )
    return Book(
        session=session,
        cash=_CAPITAL,
        equity=_CAPITAL,
        previous_close_equity=_CAPITAL,
        buying_power=_CAPITAL,
        positions={},
        open_orders=(),
        risk=risk,
    )
