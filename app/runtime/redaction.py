"""Keeps secrets out of logs and messages: by name of the field, by known value, and by shape."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, SecretStr

HIDDEN = "[hidden]"
SHORTEST_SECRET = 8
_DEEPEST = 6

_SECRET_NAME = re.compile(r"secret|passw|token|api_?key|authori[sz]ation|webhook|cookie|credential", re.IGNORECASE)
_HARMLESS_NAMES = frozenset({"token_type"})
_SHAPES = (
    (re.compile(r"(https?://(?:\w+\.)?discord(?:app)?\.com/api/(?:v\d+/)?webhooks)/[^\s\"'<>]+"), r"\1/" + HIDDEN),
    (re.compile(r"(discord|tgram|slack)://[^\s\"'<>]+"), r"\1://" + HIDDEN),
    (re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"), HIDDEN),
    (re.compile(r"(at_[0-9a-f]{12})_[A-Za-z0-9_-]{43}"), r"\1_" + HIDDEN),  # tokens of scripts
    (re.compile(r"(?i)(bearer\s+)[A-Za-z0-9._~+/=-]{8,}"), r"\1" + HIDDEN),
    (re.compile(r"(?i)(apca-api-(?:key-id|secret-key)['\"]?\s*[:=]\s*['\"]?)[^\s'\",}]+"), r"\1" + HIDDEN),
    (re.compile(r"(\w+://[^\s:/@]*:)[^\s@/]+@"), r"\1" + HIDDEN + "@"),
)


class Redactor:
    """Replaces secrets in text and in nested values."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """`secrets`: values to hide wherever they appear; short ones are left, hiding them would mangle ordinary words."""
        known = sorted({s for s in secrets if len(s) >= SHORTEST_SECRET}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def text(self, text: str) -> str:
        """`text` with known secrets and secret-shaped parts hidden."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        for shape, replacement in _SHAPES:
            text = shape.sub(replacement, text)
        return text

    def value(self, value: Any, depth: int = 0) -> Any:
        """`value` with every text in it cleaned and every field with a secret's name hidden."""
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, SecretStr):
            return HIDDEN
        if depth >= _DEEPEST:
            return self.text(str(value))
        if isinstance(value, Mapping):
            return {
                str(key): HIDDEN if _is_secret_name(str(key)) and item is not None else self.value(item, depth + 1)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item, depth + 1) for item in value]
        return self.text(str(value))


def secrets_of(settings: BaseModel) -> list[str]:
    """Every secret value held by `settings`. A published default is no secret, and hiding it would mangle ordinary words."""
    held = ((getattr(settings, name), field.default) for name, field in type(settings).model_fields.items())
    return [value.get_secret_value() for value, default in held if isinstance(value, SecretStr) and value != default]


def _is_secret_name(name: str) -> bool:
    return name not in _HARMLESS_NAMES and _SECRET_NAME.search(name) is not None
