"""Values of the product as JSON: one rule for each kind, the same on every route."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any

import numpy as np
from flask.json.provider import DefaultJSONProvider

from app.domain.reason import Reason

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
_REASONS = {reason.code: reason for reason in Reason}


def to_wire(value: object) -> Json:
    """`value` as plain JSON types.

    Decimal: string, exact. Aware datetime: RFC 3339 in UTC with Z. Not-a-number and infinities: null. Reason: code and
    text. Enum: its value, a numbered one its lower-case name. Dataclasses and named tuples: objects. Anything else raises
    TypeError, secrets included, so that nothing leaves by accident.
    """
    if isinstance(value, Reason):
        return {"code": value.code, "text": value.text}
    if isinstance(value, Enum):
        return value.name.lower() if isinstance(value, IntEnum) else to_wire(value.value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else None
    if isinstance(value, datetime):
        return _instant(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, np.ndarray | np.generic):
        return to_wire(value.tolist())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_wire(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return to_wire(value._asdict())
    if isinstance(value, Mapping):
        return {str(to_wire(key)): to_wire(item) for key, item in value.items()}
    if isinstance(value, list | tuple | AbstractSet):
        return [to_wire(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def fields(value: object) -> dict[str, Any]:
    """`value`, a record, as a JSON object."""
    wire = to_wire(value)
    if not isinstance(wire, dict):
        raise TypeError(f"{type(value).__name__} is not a record")
    return wire


def decision(record: object) -> dict[str, Any]:
    """A decision record; a reason stored as a bare word gets its sentence back."""
    wire = fields(record)
    reason = wire.get("reason")
    known = _REASONS.get(reason.lower()) if isinstance(reason, str) else None
    return wire | {"reason": to_wire(known)} if known is not None else wire


def fill(record: object) -> dict[str, Any]:
    """A booked fill as one flat object: the execution, then the order it belongs to."""
    wire = fields(record)
    execution = wire.pop("fill", None)
    return execution | wire if isinstance(execution, dict) else wire


def _instant(value: datetime) -> str:
    if value.tzinfo is None:
        raise TypeError("a time without its zone has no form in JSON")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


class StrictJson(DefaultJSONProvider):
    """Writes standard JSON only: an unconverted not-a-number is a fault of ours, not something to send."""

    sort_keys = False

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """ASCII-only JSON text; raises ValueError on not-a-number."""
        return super().dumps(obj, allow_nan=False, **kwargs)
