"""The inputs of a decision as JSON and back, to the last bit: what a cycle saw can be replayed years later."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import numpy as np
from pydantic import ConfigDict, TypeAdapter

from app.domain.bar import Floats
from app.domain.exits import ExitPolicy
from app.domain.forecast import Answer
from app.engine.decision import Book, Context, MarketView
from app.risk.limits import Policy, RiskLimits

_T = TypeVar("_T")
_Forecasts = Mapping[str, Answer]
# What a venue said is recorded even when it is no number; a tuple around it, because a dataclass takes no settings.
_EXACTLY = ConfigDict(allow_inf_nan=True, ser_json_inf_nan="strings")
_BOOK: TypeAdapter[tuple[Book]] = TypeAdapter(tuple[Book], config=_EXACTLY)
_CONTEXT: TypeAdapter[tuple[Context]] = TypeAdapter(tuple[Context], config=_EXACTLY)
_FORECASTS: TypeAdapter[tuple[_Forecasts]] = TypeAdapter(tuple[_Forecasts], config=_EXACTLY)
_ARRAYS = ("price", "age_seconds", "volatility", "tradable")
_LATER_ARRAYS = ("last_close", "usual_volatility", "atr")  # older recordings lack them


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything `decide` takes."""

    view: MarketView
    book: Book
    context: Context
    limits: RiskLimits
    policy: Policy


def to_json(inputs: Inputs) -> dict[str, Any]:
    """A JSON-ready dict in standard JSON: NaN in arrays becomes null, infinities, Decimals and instants become text."""
    view = inputs.view
    return {
        "view": {
            "decided_at": view.decided_at.isoformat(),
            "symbols": list(view.symbols),
            **{name: _nullable(getattr(view, name)) for name in _ARRAYS},
            **{name: _nullable(known) for name in _LATER_ARRAYS if (known := getattr(view, name)) is not None},
            "forecasts": _dump(_FORECASTS, dict(view.forecasts)),
        },
        "book": _dump(_BOOK, inputs.book),
        "context": _dump(_CONTEXT, inputs.context),
        "limits": inputs.limits._asdict(),
        "policy": inputs.policy._asdict() | {"exits": inputs.policy.exits._asdict()},
    }


def from_json(recorded: dict[str, Any]) -> Inputs:
    """The inputs again, equal to what `to_json` was given."""
    view = recorded["view"]
    return Inputs(
        view=MarketView(
            decided_at=datetime.fromisoformat(view["decided_at"]),
            symbols=tuple(view["symbols"]),
            forecasts=_load(_FORECASTS, view["forecasts"]),
            **{name: _array(view[name]) for name in _ARRAYS},
            **{name: _array(view[name]) for name in _LATER_ARRAYS if name in view},
        ),
        book=_load(_BOOK, recorded["book"]),
        context=_load(_CONTEXT, recorded["context"]),
        limits=RiskLimits(**recorded["limits"]),
        policy=_policy(recorded["policy"]),
    )


def _policy(recorded: dict[str, Any]) -> Policy:
    return Policy(**recorded | {"exits": ExitPolicy(**recorded.get("exits", {}))})


def _dump(adapter: TypeAdapter[tuple[_T]], value: _T) -> Any:
    return json.loads(adapter.dump_json((value,)))[0]


def _load(adapter: TypeAdapter[tuple[_T]], recorded: Any) -> _T:
    return adapter.validate_python((recorded,))[0]


def _nullable(values: Floats) -> list[float | str | None]:
    return [None if math.isnan(v) else v if math.isfinite(v) else str(v) for v in values.tolist()]


def _array(values: list[float | str | None]) -> Floats:
    return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
