"""Column types that give back exactly what was put in, on SQLite and PostgreSQL alike."""

# ruff: noqa: ARG002 - every type takes the dialect, few need it

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np
from sqlalchemy import DateTime, Dialect, Numeric, String, Text, TypeDecorator
from sqlalchemy.types import TypeEngine

from app.domain.errors import InvalidInput


class ExactDecimal(TypeDecorator[Decimal]):
    """Finite Decimals. NUMERIC on PostgreSQL; TEXT on SQLite, whose own numbers pass through binary floats.
    On SQLite never compare or sum such a column in SQL: text does not sort as numbers do."""

    impl = Numeric(asdecimal=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text where the database has no exact decimals."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else Numeric(asdecimal=True))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Refuses floats and not-a-number."""
        if value is None:
            return None
        if not isinstance(value, Decimal) or not value.is_finite():
            raise InvalidInput(f"the ledger takes finite decimals only, got {value!r}")
        return str(value) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """The very Decimal that was stored."""
        return None if value is None else Decimal(value)


class Instant(TypeDecorator[datetime]):
    """Aware datetimes in UTC, to the microsecond. TIMESTAMP WITH TIME ZONE on PostgreSQL; sortable text on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuses naive datetimes."""
        if value is None:
            return None
        if value.tzinfo is None or value.utcoffset() is None:
            raise InvalidInput(f"an instant needs a time zone, got {value!r}")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Always in UTC, whatever the session's time zone."""
        if value is None:
            return None
        instant: datetime = value
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


class Words(TypeDecorator[str]):
    """Free text from outside (errors, messages): what a database cannot hold (NUL, lone surrogates) becomes U+FFFD or '?'."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Storable text."""
        return None if value is None else value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


class Json(TypeDecorator[Any]):
    """Plain JSON as text; see `to_json`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """JSON text, or NULL for None."""
        return None if value is None else to_json(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """The parsed value."""
        return None if value is None else json.loads(value)


class Word(TypeDecorator[Any]):
    """A StrEnum as its value; an unknown word in the database raises ValueError."""

    impl = String(32)
    cache_ok = True

    def __init__(self, kind: type[Enum]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """The enum's word."""
        return None if value is None else str(self.kind(value).value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """The enum's member."""
        return None if value is None else self.kind(value)


def to_json(value: Any) -> str:
    """JSON text of plain values, arrays, dataclasses, decimals (as text) and datetimes (ISO).
    NaN and infinities become null."""
    try:
        return _ENCODE(value)
    except (TypeError, ValueError):  # not-a-number or an infinity somewhere, or a key that is no text
        return _ENCODE(plain(value))


def plain(value: Any) -> Any:
    """`value` in the terms of JSON. Raises InvalidInput for kinds without a JSON form."""
    kind = type(value)
    if kind is str or kind is int:
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return str(value) if value.is_finite() else None
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, (Sequence, set, frozenset)) and not isinstance(value, (bytes, bytearray, memoryview)):
        return [plain(item) for item in value]
    raise InvalidInput(f"a {type(value).__name__} has no JSON form")


_ENCODE = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=plain).encode
