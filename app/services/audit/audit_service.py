"""What the audit log proves: that it is whole, how any order came about, and the books at any time."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain.audit import Break, Event, Head, Kind
from app.domain.audit_book import AuditedBook
from app.domain.errors import Conflict
from app.services.audit.audit_story import tell
from app.services.database_service import DatabaseService

_DEEPEST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """Result of a walk along the chain. head: the last event that holds. broken: the first that does not, None: all hold."""

    events: int
    seconds: float
    head: Head
    broken: Break | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryLine:
    """One event of a story. at: venue time; recorded_at: wall time; because: the event that led to it."""

    seq: int
    at: datetime | None
    recorded_at: datetime
    kind: str
    text: str
    because: int | None
    correlation_id: str
    code_version: str
    config_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """An order from what led to it to its end. order: the terms first recorded. legs: client order ids of its protective
    orders. state: where it stands after the last event."""

    client_order_id: str
    origin: str
    state: str
    order: dict[str, Any]
    legs: tuple[str, ...]
    lines: tuple[StoryLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """The books as of `at`, rebuilt from the log alone. differences: where the log and the ledger disagree at present."""

    book: AuditedBook
    differences: tuple[str, ...]


class AuditService:
    """Reads the audit log; writes nothing."""

    def __init__(self, database: DatabaseService) -> None:
        self._database = database

    def verify(self, *, first: int | None = None, last: int | None = None) -> Verified:
        """Every hash from event `first` to event `last`; without bounds also the end, against what was last committed."""
        started = time.perf_counter()
        count, head, broken = self._database.check_audit(first=first, last=last)
        return Verified(events=count, seconds=time.perf_counter() - started, head=head, broken=broken)

    def book(self, at: datetime | None = None) -> Book:
        """Cash, holdings and orders at venue time `at` (None: now). Conflict where the chain is broken."""
        broken = self.verify().broken
        if broken is not None:
            raise Conflict(f"the log does not hold, so it proves nothing: {broken.what}", code="audit_broken")
        book, found = self._database.audited_book(at)
        return Book(book=book, differences=found)

    def explain(self, name: str) -> Story:
        """The story of the order with this id, ours or the venue's. NotFound: the log knows no such order."""
        own, events = self._database.audited_order(name)
        order, state = _terms(events)
        background = self._background(events, order)
        legs = tuple(
            event.client_order_id
            for event in self._database.audited_adoptions(events[0].symbol, events[0].seq)
            if event.payload.get("order", {}).get("parent_id") == own
        )
        lines = sorted({event.seq: event for event in (*background, *events)}.values(), key=lambda event: event.seq)
        return Story(
            client_order_id=own,
            origin=order.get("origin", "unknown"),
            state=state,
            order=order,
            legs=legs,
            lines=tuple(_line(event, order.get("symbol", events[0].symbol)) for event in lines),
        )

    def _background(self, events: list[Event], order: dict[str, Any]) -> list[Event]:
        """What led to the order: the decision behind it, or behind the entry that it protects."""
        parent = order.get("parent_id")
        if parent is not None:
            _, entry = self._database.audited_order(parent)
            return [*self._causes({entry[0].causation_id} - {None}), entry[0]]
        return self._causes({events[0].causation_id} - {None})

    def _causes(self, numbers: Collection[int | None]) -> list[Event]:
        found: list[Event] = []
        wanted = {number for number in numbers if number is not None}
        while wanted and len(found) < _DEEPEST:
            causes = [event for event in self._database.audit_events(wanted) if not event.client_order_id]
            found += causes
            wanted = {event.causation_id for event in causes if event.causation_id and event.kind != Kind.STARTED}
        return found


def _terms(events: list[Event]) -> tuple[dict[str, Any], str]:
    """The order as first recorded, and the state it is in after all of its events."""
    order: dict[str, Any] = {}
    state = "unknown"
    for event in events:
        order = order or dict(event.payload.get("order", {}))
        state = {**event.payload.get("order", {}), **event.payload.get("changed", {})}.get("state", state)
        parent = event.payload.get("changed", {}).get("parent_id")
        if parent is not None:
            order["parent_id"] = parent
    return order, state


def _line(event: Event, symbol: str) -> StoryLine:
    return StoryLine(
        seq=event.seq,
        at=event.at,
        recorded_at=event.recorded_at,
        kind=event.kind,
        text=tell(event, symbol),
        because=event.causation_id,
        correlation_id=event.correlation_id,
        code_version=event.code_version,
        config_digest=event.config_digest,
    )
