"""A trained model as a value, why one is refused, and what learning needs of the places where both are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.domain.errors import AlphaTraderError
from app.learning.confidence import ReliabilityBin
from app.learning.parameters import EnsembleParams


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Out-of-sample quality, walk-forward, against the naive forecasts "no change" and "the last return again".

    mse_over_zero, mse_over_last: our mean squared error over theirs; below 1 is better than naive. directional_accuracy:
    share of right signs among days that moved; always_up_accuracy: what forecasting "up" every day would have scored.
    confident_fraction: share of forecasts with confidence >= 0.7. rows: forecasts judged.
    """

    rows: int
    judged_from: datetime
    mse: float
    mse_over_zero: float
    mse_over_last: float
    directional_accuracy: float
    always_up_accuracy: float
    confident_fraction: float
    reliability: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMember:
    """A member in its library's own format. scale: what its answers are multiplied with to be returns."""

    library: str
    scale: float
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """An ensemble for one symbol. trained_through: when the newest label it was fitted on became known.

    rows: examples fitted on. libraries: versions of what fitted it.
    """

    symbol: str
    members: tuple[StoredMember, ...]
    feature_names: tuple[str, ...]
    params: EnsembleParams
    params_source: str
    seed: int
    trained_at: datetime
    trained_through: datetime
    rows: int
    libraries: dict[str, str]
    scores: Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedModel:
    """A model as read back and verified. version: changes whenever anything of it changes."""

    version: str
    model: TrainedModel


class ModelRefused(AlphaTraderError):
    """A stored model must not be used. code: model_missing, model_corrupt, model_foreign, model_incompatible,
    model_from_future."""

    code = "model_corrupt"

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail, code=code)
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedParams:
    """Parameters found by tuning. tuned_through: when the newest label they were judged on became known.

    loss, default_loss: walk-forward mean squared error over that of forecasting zero, with them and with the defaults.
    """

    symbol: str
    params: EnsembleParams
    tuned_through: datetime
    loss: float
    default_loss: float
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamChoice:
    """Parameters to train with. source: tuned or default. reason: why the tuned ones were not used, if so."""

    params: EnsembleParams
    source: str
    reason: str | None = None


class ModelStore(Protocol):
    """Keeps the current model of each symbol."""

    def version(self, symbol: str) -> str:
        """Id of the current version, cheaply. Raises ModelRefused(model_missing)."""
        ...

    def load(self, symbol: str) -> PublishedModel:
        """The current model, verified in full before anything is deserialised. Raises ModelRefused."""
        ...

    def publish(self, model: TrainedModel) -> str:
        """Make `model` the current one, atomically; returns its version."""
        ...

    def symbols(self) -> Sequence[str]:
        """Symbols that have a model, good or bad, in order."""
        ...


class ParamStore(Protocol):
    """Keeps the tuned parameters of each symbol."""

    def choose(self, symbol: str, *, at: datetime) -> ParamChoice:
        """The tuned parameters if they are sound and know nothing after `at`, else the defaults with the reason."""
        ...

    def save(self, tuned: TunedParams) -> None:
        """Keep `tuned` as the parameters of its symbol, atomically."""
        ...
