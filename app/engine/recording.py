"""The inputs of a decision as JSON and back, to the last bit: what a cycle saw can be replayed years later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from app.domain.bar import Floats
from app.domain.forecast import Forecast, NoForecast
from app.engine.decision import Book, Context, MarketView
from app.risk.limits import Policy, RiskLimits

_BOOK: TypeAdapter[Book] = TypeAdapter(Book)
_CONTEXT: TypeAdapter[Context] = TypeAdapter(Context)
_FORECASTS: TypeAdapter[dict[str, Forecast | NoForecast]] = TypeAdapter(dict[str, Forecast | NoForecast])
_ARRAYS = ("price", "age_seconds", "volatility", "tradable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything `decide` takes."""

    view: MarketView
    book: Book
    context: Context
    limits: RiskLimits
    policy: Policy


def to_json(inputs: Inputs) -> dict[str, Any]:
    """A JSON-ready dict; NaN becomes null, Decimals and instants become text."""
    view = inputs.view
    return {
        "view": {
            "decided_at": view.decided_at.isoformat(),
            "symbols": list(view.symbols),
            **{name: _nullable(getattr(view, name)) for name in _ARRAYS},
            "forecasts": _FORECASTS.dump_python(dict(view.forecasts), mode="json"),
        },
        "book": _BOOK.dump_python(inputs.book, mode="json"),
        "context": _CONTEXT.dump_python(inputs.context, mode="json"),
        "limits": inputs.limits._asdict(),
        "policy": inputs.policy._asdict(),
    }


def from_json(recorded: dict[str, Any]) -> Inputs:
    """The inputs again, equal to what `to_json` was given."""
    view = recorded["view"]
    return Inputs(
        view=MarketView(
            decided_at=datetime.fromisoformat(view["decided_at"]),
            symbols=tuple(view["symbols"]),
            forecasts=_FORECASTS.validate_python(view["forecasts"]),
            **{name: _array(view[name]) for name in _ARRAYS},
        ),
        book=_BOOK.validate_python(recorded["book"]),
        context=_CONTEXT.validate_python(recorded["context"]),
        limits=RiskLimits(**recorded["limits"]),
        policy=Policy(**recorded["policy"]),
    )


def _nullable(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _array(values: list[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
