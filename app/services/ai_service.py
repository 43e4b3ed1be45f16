"""AIService: forecasts from the stored models, and the training that makes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import structlog

from app.domain.bar import BarSeries, Floats
from app.domain.errors import InvalidInput
from app.domain.forecast import Forecast, NoForecast
from app.learning.confidence import confidence
from app.learning.ensemble import Member, predict, restore
from app.learning.features import MEMORY, feature_rows
from app.learning.model import ModelRefused, ModelStore, ParamStore, PublishedModel, Scores
from app.learning.parameters import EnsembleParams
from app.learning.training import train_symbol

log = structlog.get_logger()
Progress = Callable[[int, int, str], None]
Gate = Callable[[Mapping[str, BarSeries]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReport:
    """What became of one symbol's training. trained: whether a new model was published; if not, reason says why.

    params_source: tuned or default; params_reason: why tuned parameters that exist were not used.
    """

    symbol: str
    trained: bool
    reason: str | None = None
    version: str | None = None
    rows: int = 0
    trained_through: datetime | None = None
    params_source: str = "default"
    params_reason: str | None = None
    scores: Scores | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """The stored model of one symbol as people see it. usable: whether it would be loaded; if not, code and detail."""

    symbol: str
    usable: bool
    code: str | None = None
    detail: str | None = None
    version: str | None = None
    trained_at: datetime | None = None
    trained_through: datetime | None = None
    rows: int = 0
    params: EnsembleParams | None = None
    params_source: str | None = None
    libraries: Mapping[str, str] | None = None
    scores: Scores | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    version: str
    trained_through: datetime
    members: tuple[Member, ...]


class AIService:
    """The `Forecaster` of the product. Keeps loaded boosters in memory and reloads a model once it is published anew.

    gate: looks at how models come about from bars like these; what it raises keeps every model that is in use."""

    def __init__(self, models: ModelStore, params: ParamStore, *, workers: int | None = None, gate: Gate | None = None) -> None:
        self._models = models
        self._params = params
        self._gate = gate
        self._workers = workers or os.cpu_count() or 1
        self._loaded: dict[str, _Loaded] = {}

    def forecast(self, bars: Mapping[str, BarSeries], at: datetime) -> dict[str, Forecast | NoForecast]:
        """One answer per symbol from the daily bars complete at `at`; a symbol's fault never reaches another's answer."""
        answers: dict[str, Forecast | NoForecast] = {}
        ready: list[tuple[str, BarSeries, _Loaded]] = []
        for symbol, series in bars.items():
            known = series.known_by(at)
            model = self._usable(symbol, known, at)
            if isinstance(model, NoForecast):
                answers[symbol] = model
            else:
                ready.append((symbol, known, model))
        rows = feature_rows([known for _, known, _ in ready])
        for (symbol, known, model), row in zip(ready, rows, strict=True):
            answers[symbol] = _forecast(symbol, known, model, row)
        return {symbol: answers[symbol] for symbol in bars}

    def train_batch(self, bars: Mapping[str, BarSeries], *, at: datetime, progress: Progress) -> list[TrainingReport]:
        """Train and publish a model per symbol from what was known at `at`, over all cores.

        progress(done, total, symbol) is called on this thread after each symbol. A symbol that cannot be trained is a
        report with its reason; its earlier model stays in place. Raises Conflict when the gate refuses them all.
        """
        if self._gate is not None:
            self._gate(bars)
        reports: dict[str, TrainingReport] = {}
        pool = ThreadPoolExecutor(max_workers=self._workers, thread_name_prefix="training")
        try:
            futures = {pool.submit(self._train, series, at): symbol for symbol, series in bars.items()}
            for future in as_completed(futures):
                symbol = futures[future]
                reports[symbol] = future.result()
                progress(len(reports), len(bars), symbol)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return [reports[symbol] for symbol in bars]

    def status(self) -> list[ModelStatus]:
        """Every stored model with its version, parameters and out-of-sample scores, or why it is refused."""
        return [self._status(symbol) for symbol in self._models.symbols()]

    def _usable(self, symbol: str, known: BarSeries, at: datetime) -> _Loaded | NoForecast:
        if len(known) < MEMORY:
            detail = f"{len(known)} completed daily bars are known; {MEMORY} are needed"
            return NoForecast(symbol=symbol, code="too_few_bars", detail=detail)
        try:
            model = self._model(symbol)
        except ModelRefused as refusal:
            return NoForecast(symbol=symbol, code=refusal.code, detail=refusal.detail)
        except InvalidInput as fault:
            return NoForecast(symbol=symbol, code="model_missing", detail=fault.message)
        if model.trained_through > at:
            detail = (
                f"the model knows data up to {model.trained_through:%Y-%m-%d %H:%M} UTC, later than the forecast's own time"
            )
            return NoForecast(symbol=symbol, code="model_from_future", detail=detail)
        return model

    def _model(self, symbol: str) -> _Loaded:
        held = self._loaded.get(symbol)
        if held is not None and held.version == self._models.version(symbol):
            return held
        self._loaded.pop(symbol, None)
        published = self._models.load(symbol)
        loaded = _Loaded(
            version=published.version, trained_through=published.model.trained_through, members=_restore(published)
        )
        self._loaded[symbol] = loaded
        return loaded

    def _train(self, bars: BarSeries, at: datetime) -> TrainingReport:
        try:
            choice = self._params.choose(bars.symbol, at=at)
            model = train_symbol(bars, choice.params, trained_at=at, params_source=choice.source)
            version = self._models.publish(model)
        except InvalidInput as fault:
            return TrainingReport(symbol=bars.symbol, trained=False, reason=fault.message)
        except Exception as fault:  # one symbol must not end the training of the others
            log.exception("training_failed", symbol=bars.symbol)
            return TrainingReport(symbol=bars.symbol, trained=False, reason=f"{type(fault).__name__}: {fault}")
        return TrainingReport(
            symbol=bars.symbol,
            trained=True,
            version=version,
            rows=model.rows,
            trained_through=model.trained_through,
            params_source=choice.source,
            params_reason=choice.reason,
            scores=model.scores,
        )

    def _status(self, symbol: str) -> ModelStatus:
        try:
            published = self._models.load(symbol)
        except ModelRefused as refusal:
            return ModelStatus(symbol=symbol, usable=False, code=refusal.code, detail=refusal.detail)
        model = published.model
        return ModelStatus(
            symbol=symbol,
            usable=True,
            version=published.version,
            trained_at=model.trained_at,
            trained_through=model.trained_through,
            rows=model.rows,
            params=model.params,
            params_source=model.params_source,
            libraries=model.libraries,
            scores=model.scores,
        )


def _restore(published: PublishedModel) -> tuple[Member, ...]:
    try:
        return tuple(restore(m.library, m.payload, m.scale) for m in published.model.members)
    except Exception as fault:  # whatever a booster library throws at what it cannot read
        detail = f"{published.model.symbol}: a booster cannot be read back: {type(fault).__name__}"
        raise ModelRefused("model_corrupt", detail) from fault


def _forecast(symbol: str, known: BarSeries, model: _Loaded, row: Floats) -> Forecast | NoForecast:
    if not np.isfinite(row).all():
        detail = f"the last {MEMORY} daily bars hold a price or volume that is missing or not sound"
        return NoForecast(symbol=symbol, code="not_finite", detail=detail)
    try:
        members = predict(model.members, row[None, :])[0]
    except Exception as fault:  # noqa: BLE001 - one symbol's booster must not end the forecasts of the others
        detail = f"{symbol}: the model cannot answer: {type(fault).__name__}"
        return NoForecast(symbol=symbol, code="model_corrupt", detail=detail)
    if not (np.abs(members) < 1.0).all():  # also refuses NaN: no daily return of a whole price is a forecast
        return NoForecast(symbol=symbol, code="not_finite", detail="the model's answer is not a possible daily return")
    return Forecast(
        symbol=symbol,
        daily_return=float(members.mean()),
        confidence=float(confidence(members)),
        members=tuple(members.tolist()),
        last_close=float(known.close[-1]),
        last_close_at=datetime.fromtimestamp(int(known.known_at[-1]), UTC),
        model=model.version,
    )
