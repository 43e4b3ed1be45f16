"""Where the clock of a simulated run stops: each cycle's slot inside a session, the session's close, and the night's learning.

Slots are the multiples of the cycle's length since 1970, the same that name the cycles; a session's slots are those after
its open and before its close. A cycle longer than any slot inside a session gets the middle of the session.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from app.runtime.calendar import Session

NIGHT_HOUR_UTC = 23


class StopKind(StrEnum):
    """Why the clock stops."""

    CYCLE = "cycle"
    CLOSE = "close"
    NIGHT = "night"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """An instant at which the clock stands until the work that belongs to it is done."""

    at: datetime
    kind: StopKind


def slot_of(at: datetime, cycle_seconds: int) -> int:
    """Number of the slot an instant lies in."""
    return int(at.timestamp()) // cycle_seconds


def session_slots(session: Session, cycle_seconds: int) -> Iterator[datetime]:
    """The instants of a session at which a cycle runs, in order."""
    slot = slot_of(session.opens_at, cycle_seconds) + 1
    closes = session.closes_at.timestamp()
    if slot * cycle_seconds >= closes:
        yield session.opens_at + (session.closes_at - session.opens_at) / 2
        return
    while slot * cycle_seconds < closes:
        yield datetime.fromtimestamp(slot * cycle_seconds, UTC)
        slot += 1


def stops(sessions: Iterable[Session], *, cycle_seconds: int, after: datetime, nightly: bool) -> Iterator[Stop]:
    """Every stop later than `after`, in order."""
    for session in sessions:
        if session.closes_at + timedelta(hours=24) <= after:
            continue
        for at in session_slots(session, cycle_seconds):
            if at > after:
                yield Stop(at=at, kind=StopKind.CYCLE)
        if session.closes_at > after:
            yield Stop(at=session.closes_at, kind=StopKind.CLOSE)
        night = session.closes_at.replace(hour=NIGHT_HOUR_UTC, minute=0, second=0, microsecond=0)
        if nightly and night > after:
            yield Stop(at=night, kind=StopKind.NIGHT)
