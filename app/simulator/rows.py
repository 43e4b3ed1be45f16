"""Orders, executions and entries as JSON and back, field by field; a field at its default is left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

_T = TypeVar("_T")


def to_row(value: Any) -> dict[str, Any]:
    """A dataclass of numbers, words, instants and enums as what json can write."""
    kind: Any = type(value)
    return {name: _plain(found) for name, default in _defaults(kind) if (found := getattr(value, name)) is not default}


def from_row(kind: type[_T], row: Mapping[str, Any]) -> _T:
    """The dataclass that `to_row` took apart. Raises ValueError, TypeError, KeyError or ArithmeticError for anything else."""
    key: Any = kind
    hints = _hints(key)
    return kind(**{name: None if value is None else hints[name](value) for name, value in row.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    return value if value is None or type(value) in {str, int, bool} else str(value)


@cache
def _defaults(kind: type[Any]) -> tuple[tuple[str, Any], ...]:
    return tuple((f.name, f.default) for f in dataclasses.fields(kind))


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return {name: _reader(hint) for name, hint in get_type_hints(kind).items()}


def _reader(hint: Any) -> Any:
    if get_origin(hint) in {UnionType, Union}:
        hint = next(part for part in get_args(hint) if part is not type(None))
    if hint in {datetime, date}:
        return hint.fromisoformat
    return _same if hint in {str, int, bool} else hint


def _same(value: Any) -> Any:
    return value
