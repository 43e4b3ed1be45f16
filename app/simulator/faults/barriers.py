"""Barriers: the Nth matching request from now on is held until it is told how to go on.

Held "before", the exchange has not got it yet; held "after", it took full effect and only its answer is kept back. A released
request goes on as if it had just arrived, whether or not its client still waits: a client that vanished undoes nothing.
Barriers are kept in memory only: when the exchange ends, held requests end with it, those held "before" without effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from app.domain.errors import Conflict, InvalidInput, NotFound
from app.simulator import wire
from app.simulator.faults.arrivals import SELECTING, Arrival, Selector, parse_selector, text
from app.simulator.faults.board import AFTER, BEFORE
from app.simulator.faults.fault_request import status, whole

_THEN = ("proceed", "reset", "status")


class Release(NamedTuple):
    """How a held request goes on: `then` is proceed, reset (the connection is cut) or status (that is the answer)."""

    then: str = "proceed"
    status: int = 503


@dataclass(kw_only=True, slots=True)
class Barrier:
    """One barrier. number: which matching arrival is held. request: its number in the request log, once it arrived."""

    where: Selector
    number: int
    when: str
    id: int = 0
    matched: int = 0
    request: int | None = None
    release: Release | None = None
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        """How the request log speaks of it."""
        return f"barrier {self.id}: {self.when}"

    def let_go(self, how: Release) -> None:
        """Release the held request."""
        self.release = how
        self.released.set()

    async def hold(self) -> Release:
        """Wait for the release."""
        self.arrived.set()
        await self.released.wait()
        return self.release or Release()

    def shown(self) -> wire.Json:
        """The barrier in an answer of /sim/barriers. state: waiting, arrived (a request is held) or released."""
        state = "released" if self.release else "arrived" if self.arrived.is_set() else "waiting"
        return {
            "id": self.id,
            **self.where.shown(),
            "number": self.number,
            "when": self.when,
            "matched": self.matched,
            "state": state,
            "request": self.request,
            "then": self.release.then if self.release else None,
        }


class BarrierBoard:
    """The barriers of one world."""

    def __init__(self) -> None:
        self._barriers: dict[int, Barrier] = {}
        self._counting: list[Barrier] = []
        self._next_id = 1

    @property
    def waits(self) -> bool:
        """Whether any barrier still waits for its request."""
        return bool(self._counting)

    def add(self, barrier: Barrier) -> Barrier:
        """Set a barrier; it gets its id."""
        barrier.id, self._next_id = self._next_id, self._next_id + 1
        self._barriers[barrier.id] = barrier
        self._counting.append(barrier)
        return barrier

    def all(self) -> list[Barrier]:
        """Every barrier that was not removed."""
        return list(self._barriers.values())

    def clear(self) -> None:
        """Remove every barrier."""
        for barrier in self.all():
            self.remove(barrier)

    def find(self, barrier_id: int) -> Barrier:
        """The barrier of that id; NotFound when there is none."""
        if barrier_id not in self._barriers:
            raise NotFound(f"no barrier has the id {barrier_id}; GET /sim/barriers lists them")
        return self._barriers[barrier_id]

    def meeting(self, arrival: Arrival, when: str) -> list[Barrier]:
        """Count an arrival at every barrier it matches; those that hold it, in the order in which they were set."""
        holding = []
        for barrier in [b for b in self._counting if b.when == when]:
            if barrier.where.matches(arrival):
                barrier.matched += 1
                if barrier.matched == barrier.number:
                    self._counting.remove(barrier)
                    holding.append(barrier)
        return holding

    def release(self, barrier: Barrier, how: Release) -> None:
        """Let the held request go on. Raises Conflict when none is held."""
        if not barrier.arrived.is_set():
            raise Conflict(f"barrier {barrier.id} holds no request yet; GET /sim/barriers/{barrier.id}?wait=10 waits for it")
        if barrier.release is not None:
            raise Conflict(f"barrier {barrier.id} has been released")
        barrier.let_go(how)

    def remove(self, barrier: Barrier) -> None:
        """Take a barrier away; what it holds, or would hold later, goes on."""
        del self._barriers[barrier.id]
        self._counting = [b for b in self._counting if b is not barrier]
        if barrier.release is None:
            barrier.let_go(Release())


def parse_barrier(fields: Mapping[str, Any]) -> Barrier:
    """The barrier that a body describes. Raises InvalidInput."""
    unknown = sorted(set(fields) - {*SELECTING, "number", "when"})
    if unknown:
        allowed = ", ".join((*SELECTING, "number", "when"))
        raise InvalidInput(f"a barrier does not take {', '.join(unknown)[:80]}; it takes {allowed}")
    when = text(fields, "when", BEFORE)
    if when not in {BEFORE, AFTER}:
        raise InvalidInput("when must be before or after")
    return Barrier(where=parse_selector(fields), number=whole(fields, "number", default=1, least=1), when=when)


def parse_release(fields: Mapping[str, Any]) -> Release:
    """How a body says that a held request goes on. Raises InvalidInput."""
    unknown = sorted(set(fields) - {"then", "status"})
    then = text(fields, "then", "proceed")
    if unknown or then not in _THEN:
        raise InvalidInput('give {"then": "proceed"}, {"then": "reset"} or {"then": "status", "status": 504}')
    return Release(then, status(fields, default=503) if then == "status" else 503)
