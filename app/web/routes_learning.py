"""Training, tuning, and the models they made."""

from __future__ import annotations

from typing import Any

from flask import Response

from app.web import wire
from app.web.acceptance import accept
from app.web.answers import Accepted, Models
from app.web.blueprint import blueprint, services
from app.web.schemas import TrainingBody, TuningBody

api = blueprint("learning", "Training, tuning, models")


@api.post("/api/training/start/batch", summary="Train models", responses={202: Accepted})
def train(body: TrainingBody) -> Response:
    """Train the ensembles of the named symbols, by default of the whole watch list."""
    return accept("train", {"symbols": _unique(body.symbols) or list(services().settings.watchlist)})


@api.post("/api/hyperparameter/optimize/", summary="Tune parameters", responses={202: Accepted}, strict_slashes=False)
def tune(body: TuningBody) -> Response:
    """Search better training parameters for the named symbols, by default for the whole watch list."""
    symbols = _unique(body.symbols) or list(services().settings.watchlist)
    return accept("tune", {"symbols": symbols, "trials": body.trials})


@api.get("/api/models", summary="Models", responses={200: Models})
def models() -> dict[str, Any]:
    """Model versions in use, with their out-of-sample scores beside naive forecasts."""
    return {"models": [wire.fields(row) for row in services().ai.status()]}


def _unique(symbols: list[str] | None) -> list[str]:
    return list(dict.fromkeys(symbols or ()))
