"""The alphabet of every answer: numbers, amounts and instants as Alpaca writes them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

_ASSETS = uuid.UUID("0a0f8a2d-6f1e-5d52-8b7f-1f2f5ddc1a02")
Json = dict[str, Any]


def text(number: Decimal | None) -> str | None:
    """A number as Alpaca writes it: plain digits, no trailing zeros."""
    return None if number is None else format(number.normalize(), "f")


def money(amount: Decimal) -> str:
    """An amount of dollars: at least two decimals, never an exponent."""
    rounded = amount.quantize(Decimal("0.000001"))
    whole, _, decimals = format(rounded, "f").partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"


def instant(at: datetime | None) -> str | None:
    """RFC 3339 in UTC."""
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def second(at: int) -> str:
    """RFC 3339 of whole seconds since 1970 UTC."""
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def asset_id(symbol: str) -> str:
    """The id of a symbol, the same in every replay."""
    return str(uuid.uuid5(_ASSETS, symbol))
