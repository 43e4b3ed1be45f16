"""Faults on demand: what shall go wrong, for which requests, symbols or stream messages, and how often.

A fault fires on the arrivals its selector matches: not on the first `skip`, then with `probability` (its own seeded draws,
one a matching arrival, so that the same requests in the same order meet the same fate), `times` times, for ever when None.
Faults are kept in memory only: a restarted exchange has none, and a reset removes them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from app.domain.errors import NotFound
from app.simulator import wire
from app.simulator.faults.arrivals import Arrival, Selector

BEFORE, AFTER = "before", "after"
STREAMS = ("trade_updates", "market_data")
# What may happen to a request, and when unless it is said: before the exchange gets it, or after it took full effect.
REQUEST_FAULTS: Mapping[str, tuple[str, ...]] = {
    "latency": (BEFORE, AFTER),
    "hang": (BEFORE, AFTER),
    "reset": (BEFORE, AFTER),
    "status": (BEFORE, AFTER),
    "html": (BEFORE, AFTER),
    "redirect": (BEFORE, AFTER),
    "unauthorized": (BEFORE,),
    "stuck_cancel": (BEFORE,),
    "empty": (AFTER, BEFORE),
    "truncate": (AFTER,),
    "huge": (AFTER,),
    "patch": (AFTER,),
    "lag": (AFTER,),
    "reject_later": (AFTER,),
}
STREAM_FAULTS = ("drop", "duplicate", "swap", "delay", "mute")
OTHER_FAULTS = ("disconnect", "halt")
# These are about orders that the exchange has taken, not about requests that it refused.
_OF_ACCEPTED_ORDERS = frozenset({"lag", "reject_later"})


class StreamPlan(NamedTuple):
    """What happens to one message of a stream. delay in seconds; swap: it is sent after the next one; mute: nothing is sent."""

    drop: bool = False
    copies: int = 1
    delay: float = 0.0
    swap: bool = False
    mute: bool = False


UNDISTURBED = StreamPlan()


@dataclass(kw_only=True, slots=True)
class Fault:
    """One fault. settings: what `what` needs (seconds, status, ...), as given.

    matched, fired: how many arrivals or messages it matched and hit so far.
    """

    what: str
    when: str = BEFORE
    where: Selector = field(default_factory=Selector)
    stream: str = ""
    event: str = ""
    times: int | None = 1
    skip: int = 0
    probability: float = 1.0
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    id: int = 0
    matched: int = 0
    fired: int = 0
    draws: random.Random = field(init=False)
    removed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.draws = random.Random(self.seed)

    @property
    def is_spent(self) -> bool:
        """Whether it will never fire again."""
        return self.times is not None and self.fired >= self.times

    @property
    def name(self) -> str:
        """How the request log speaks of it."""
        return f"fault {self.id}: {self.what} {self.when}" if self.what in REQUEST_FAULTS else f"fault {self.id}: {self.what}"

    def hits(self) -> bool:
        """Count a match, and say whether the fault fires on it."""
        self.matched += 1
        if self.is_spent or self.matched <= self.skip or self.draws.random() >= self.probability:
            return False
        self.fired += 1
        return True

    def shown(self) -> wire.Json:
        """The fault in an answer of /sim/faults."""
        return {
            "id": self.id,
            "what": self.what,
            **({"when": self.when} if self.what in REQUEST_FAULTS else {}),
            **self.where.shown(),
            **({"stream": self.stream} if self.stream else {}),
            **({"event": self.event} if self.event else {}),
            **self.settings,
            "times": self.times,
            "skip": self.skip,
            "probability": self.probability,
            "seed": self.seed,
            "matched": self.matched,
            "fired": self.fired,
            "spent": self.is_spent,
        }


class FaultBoard:
    """The faults of one world."""

    def __init__(self) -> None:
        self._faults: dict[int, Fault] = {}
        self._of_requests: list[Fault] = []
        self._of_streams: list[Fault] = []
        self._next_id = 1
        self._lagging: dict[tuple[str, str], float] = {}

    @property
    def disturbs_requests(self) -> bool:
        """Whether any fault may still touch a request."""
        return bool(self._of_requests or self._lagging)

    def add(self, fault: Fault) -> Fault:
        """Set a fault; it gets its id."""
        fault.id, self._next_id = self._next_id, self._next_id + 1
        self._faults[fault.id] = fault
        if fault.what in REQUEST_FAULTS:
            self._of_requests.append(fault)
        elif fault.what in STREAM_FAULTS:
            self._of_streams.append(fault)
        return fault

    def all(self) -> list[Fault]:
        """Every fault that was not removed, spent ones too."""
        return list(self._faults.values())

    def find(self, fault_id: int) -> Fault:
        """The fault of that id; NotFound when there is none."""
        if fault_id not in self._faults:
            raise NotFound(f"no fault has the id {fault_id}; GET /sim/faults lists them")
        return self._faults[fault_id]

    def remove(self, fault: Fault) -> None:
        """Take a fault away; requests that it hangs end."""
        fault.removed.set()
        del self._faults[fault.id]
        self._of_requests = [f for f in self._of_requests if f is not fault]
        self._of_streams = [f for f in self._of_streams if f is not fault]
        if not any(f.what == "lag" for f in self._faults.values()):
            self._lagging.clear()

    def firing(self, arrival: Arrival, when: str, *, accepted: bool = False) -> Iterator[Fault]:
        """Faults that fire on an arrival, in the order in which they were set.

        accepted: whether the exchange let the request take effect (after only).
        """
        for fault in [f for f in self._of_requests if f.when == when]:
            if not fault.where.matches(arrival) or not _is_for(fault, arrival, accepted):
                continue
            fires = fault.hits()
            if fault.is_spent:
                self._of_requests = [f for f in self._of_requests if f is not fault]
            if fires:
                yield fault

    def stream_plan(self, key_id: str, stream: str, event: str) -> StreamPlan:
        """What happens to a message of `stream` (trade_updates or market_data) to the connection of a key."""
        if not self._of_streams:
            return UNDISTURBED
        plan = UNDISTURBED
        for fault in list(self._of_streams):
            if fault.stream == stream and fault.where.key_id in {"", key_id} and fnmatchcase(event, fault.event or "*"):
                if fault.hits():
                    plan = _added(plan, fault)
                if fault.is_spent:
                    self._of_streams.remove(fault)
        return plan

    def hide(self, key_id: str, client_order_id: str, until: float) -> None:
        """Let look-ups of an order by its client id miss until a time of the event loop."""
        self._lagging[key_id, client_order_id] = until

    def is_hidden(self, arrival: Arrival, now: float) -> bool:
        """Whether a look-up by client id misses at a time of the event loop."""
        whose = arrival.key_id, arrival.client_order_id
        until = self._lagging.get(whose)
        if until is not None and now >= until:
            del self._lagging[whose]
        return until is not None and now < until


def _is_for(fault: Fault, arrival: Arrival, accepted: bool) -> bool:
    if fault.what in _OF_ACCEPTED_ORDERS:
        return accepted and arrival.places_order
    if fault.what == "stuck_cancel":
        return arrival.method == "DELETE" and bool(arrival.order_id)
    return True


def _added(plan: StreamPlan, fault: Fault) -> StreamPlan:
    match fault.what:
        case "drop":
            return plan._replace(drop=True)
        case "duplicate":
            return plan._replace(copies=max(plan.copies, fault.settings["copies"]))
        case "swap":
            return plan._replace(swap=True)
        case "delay":
            return plan._replace(delay=plan.delay + fault.settings["seconds"])
        case _:
            return plan._replace(mute=True)
