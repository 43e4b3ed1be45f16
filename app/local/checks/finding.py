"""One thing looked at, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.domain.errors import AlphaTraderError


class Level(StrEnum):
    """ok; warn: it works, but not for ever or not well; fail: it does not, or money is at risk."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """subject: what was looked at. said: what was seen. mend: what a person should do, empty where nothing."""

    subject: str
    level: Level
    said: str
    mend: str = ""


Check = Callable[[], Iterable[Finding]]


def ok(subject: str, said: str) -> Finding:
    """All is well."""
    return Finding(subject=subject, level=Level.OK, said=said)


def warn(subject: str, said: str, mend: str) -> Finding:
    """Worth a person's time."""
    return Finding(subject=subject, level=Level.WARN, said=said, mend=mend)


def fail(subject: str, said: str, mend: str) -> Finding:
    """Has to be mended."""
    return Finding(subject=subject, level=Level.FAIL, said=said, mend=mend)


def examine(checks: Mapping[str, Check]) -> Iterator[Finding]:
    """Every finding of every check; one that cannot be made is a failure itself, and the others are made all the same."""
    for subject, check in checks.items():
        try:
            yield from check()
        except AlphaTraderError as fault:
            yield fail(subject, fault.message, "mend what it says, then look again")
        except Exception as fault:  # noqa: BLE001 - whatever is broken must not keep the rest from being looked at
            yield fail(subject, f"{type(fault).__name__}: {fault}", "this check itself could not be made; look into the logs")
