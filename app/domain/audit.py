"""The audit log as values: events chained by their hashes, so that no change, gap or insertion goes unseen.

An event's hash covers the hash before it and every field, so whoever knows the newest hash can prove all of the past.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Any

DIGEST_BYTES = 32
# What stands before the first event.
ORIGIN = "0" * (2 * DIGEST_BYTES)
# The covered fields in the order in which they are hashed; an event is stored as exactly these texts.
FIELDS = (
    "at",
    "recorded_at",
    "kind",
    "cycle_id",
    "client_order_id",
    "venue_order_id",
    "execution_id",
    "symbol",
    "correlation_id",
    "causation_id",
    "payload",
    "code_version",
    "config_digest",
)


class Kind(StrEnum):
    """What an event tells.

    started: a program version or configuration began to write, the books were opened, a cycle was begun. ended: a cycle
    is over. seen: what a decision saw. decided: what was concluded for every symbol, and each order made ready. refused:
    an order the limits left no room for. sent: the right to send was given out, once. answered: what the venue told of an
    order. filled: an execution. booked: cash and positions as they stand after this transaction. canceled: an order
    ended without further executions. reconciled: taken over from the venue. risk_changed, operator: the risk state, by the
    system or by a person. account: somebody logged in, or an account, its sessions or its tokens changed. requested: what a
    person or a script had done over the API, where nothing else tells it. lost: events committed before this one are gone.
    """

    STARTED = "started"
    ENDED = "ended"
    SEEN = "seen"
    DECIDED = "decided"
    REFUSED = "refused"
    SENT = "sent"
    ANSWERED = "answered"
    FILLED = "filled"
    BOOKED = "booked"
    CANCELED = "canceled"
    RECONCILED = "reconciled"
    RISK_CHANGED = "risk_changed"
    OPERATOR = "operator"
    ACCOUNT = "account"
    REQUESTED = "requested"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event. at: venue time of what it tells, or the newest venue time known by then (None: none was). recorded_at: wall
    time. Subjects that do not apply are empty. correlation_id: the cycle or request in which it was written. causation_id:
    the event that led here. config_digest: of the settings in force, without secrets."""

    seq: int
    at: datetime | None
    recorded_at: datetime
    kind: str
    cycle_id: str
    client_order_id: str
    venue_order_id: str
    execution_id: str
    symbol: str
    correlation_id: str
    causation_id: int | None
    payload: Mapping[str, Any]
    code_version: str
    config_digest: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A place in the chain: the event's number and its hash."""

    seq: int = 0
    hash: str = ORIGIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """The first place where the chain does not hold. what: a sentence for a person."""

    seq: int
    what: str


def instant(at: datetime) -> str:
    """The one way an instant is written: UTC, to the microsecond, so that texts sort as time does."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def digest(content: bytes) -> str:
    """What stands for a content too large to be told in the log."""
    return blake2b(content, digest_size=DIGEST_BYTES).hexdigest()


def seal(previous: bytes, seq: int, fields: Sequence[bytes]) -> str:
    """The hash of an event: of the previous hash, its number and its fields, apart by a zero byte, which no field holds."""
    return digest(b"\0".join((previous, b"%d" % seq, *fields)))


def follow(rows: Iterable[Sequence[Any]], after: Head) -> tuple[Head, Break | None]:
    """Walks the chain: the last place that holds, and why the next one does not (None: all of it holds).

    rows: number, the fields as bytes, previous hash, own hash, by number."""
    seq, link = after.seq, after.hash.encode()
    for row in rows:
        number, *fields, previous, own = row
        fault = _numbered(seq, number)
        if fault is None and previous != link:
            fault = f"it names {_text(previous)} as the hash before it, but event {seq} has {_text(link)}"
        if fault is None:
            try:
                found = seal(link, number, fields).encode()
            except TypeError:
                fault = "a field is not text"
            else:
                if found != own:
                    fault = (
                        f"its content has the hash {_text(found)}, but {_text(own)} is recorded: one of its fields was changed"
                    )
        if fault is not None:
            return Head(seq=seq, hash=link.decode()), Break(seq=seq + 1, what=f"event {number}: {fault}")
        seq, link = number, own
    return Head(seq=seq, hash=link.decode()), None


def _numbered(before: int, number: int) -> str | None:
    if number == before + 1:
        return None
    missing = f"event {before + 1} is missing" if number == before + 2 else f"events {before + 1} to {number - 1} are missing"
    return missing if number > before else f"it stands after event {before}"


def _text(value: Any) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else repr(value)
