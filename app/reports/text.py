"""Numbers, instants and words of a result as people read them. What is unknown is a dash."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

UNKNOWN = "–"
_MINUS = "−"


def percent(value: float | None, digits: int = 2) -> str:
    """A fraction as a percentage."""
    return UNKNOWN if value is None else f"{_signed(value * 100, digits)} %"


def number(value: float | None, digits: int = 2) -> str:
    """A number with thousands apart."""
    return UNKNOWN if value is None else _signed(value, digits)


def whole(value: float | None) -> str:
    """A count."""
    return number(value, 0)


def money(value: float | None) -> str:
    """An amount; whole from a hundred up."""
    return UNKNOWN if value is None else _signed(value, 0 if abs(value) >= 100 else 2)


def days(value: float | None) -> str:
    """A length of time, given in days, in the unit that suits it."""
    if value is None:
        return UNKNOWN
    if value >= 2:
        return f"{value:,.0f} days" if value >= 10 else f"{value:.1f} days"
    hours = value * 24
    return f"{hours:.1f} hours" if hours >= 2 else f"{hours * 60:.0f} minutes"


def yes(value: float | bool | None) -> str:
    """Whether."""
    return UNKNOWN if value is None else "yes" if value else "no"


def day(instant: str | None) -> str:
    """The date of an RFC 3339 instant in UTC."""
    return UNKNOWN if instant is None else f"{parsed(instant):%Y-%m-%d}"


def minute(instant: str | None) -> str:
    """An RFC 3339 instant in UTC, to the minute."""
    return UNKNOWN if instant is None else f"{parsed(instant):%Y-%m-%d %H:%M}"


def parsed(instant: str) -> datetime:
    """An RFC 3339 instant in UTC."""
    return datetime.fromisoformat(instant).astimezone(UTC)


def count(number: int, noun: str) -> str:
    """How many of something."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def words(name: str) -> str:
    """A name of the code as words: stop_loss, "stop loss"."""
    return name.replace("_", " ")


FORMS: Mapping[str, Callable[[float | None], str]] = {
    "percent": percent,
    "number": number,
    "whole": whole,
    "money": money,
    "days": days,
    "yes": yes,
}


def _signed(value: float, digits: int) -> str:
    text = f"{abs(value):,.{digits}f}"
    return text if value >= 0 or not float(text.replace(",", "")) else _MINUS + text
