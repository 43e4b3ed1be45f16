"""Drives a simulated run in lock-step: moves the exchange's clock to the next stop, waits for the work of that stop, goes on.

While a cycle runs the clock stands, so every call of one cycle sees the same instant, and the same data and seed give the
same run however fast or busy the machine is. Beat sees the clock move and rings for the cycle; the conductor only watches
the ledger.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Protocol

from app.domain.errors import AlphaTraderError, Refused, TryAgain
from app.local.slots import Stop, StopKind, slot_of, stops
from app.runtime.calendar import Session

PATIENCE_SECONDS = 30.0  # for the cycle of one slot; then the slot is missed and the run goes on
RING_AGAIN_SECONDS = 5.0  # a killed beat or worker may have lost the message; a second one is harmless
CLOSE_PATIENCE_SECONDS = 12.0
MISSES_BEFORE_RESTART = 2
MISSES_BEFORE_GIVING_UP = 4
GRACE_SECONDS = 90.0  # instead of the patience, for the first cycle and after a restart: a fresh worker loads its models
_POLL_SECONDS = 0.02
_SESSIONS_AHEAD = timedelta(days=20)


class NothingRuns(AlphaTraderError):
    """Slot after slot goes by without a finished cycle."""

    code = "nothing_runs"


class Exchange(Protocol):
    """The clock and the sessions of the exchange."""

    def now(self) -> datetime:
        """Its present instant."""
        ...

    def sessions(self, start: date, end: date) -> list[Session]:
        """Its sessions between two days, both included."""
        ...

    def move(self, to: datetime) -> None:
        """Set its clock forward. Refused: it cannot. TryAgain: no answer."""
        ...


class Cycle(Protocol):
    """A cycle's row in the ledger, as far as the conductor reads it."""

    @property
    def cycle_id(self) -> str:
        """Its name."""
        ...

    @property
    def slot(self) -> datetime:
        """Its slot, venue time."""
        ...

    @property
    def state(self) -> str:
        """running, done or abandoned."""
        ...

    @property
    def outcome(self) -> str | None:
        """How it ended."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the conductor calls. newest_cycles: newest first. pause: waits so many seconds and keeps processes alive; may raise.

    ring: sends the cycle's message again. revive: restarts whoever should have worked. night: waits out the night's learning.
    ended(stop, cycle or None when missed, wall seconds): one stop is over.
    """

    newest_cycles: Callable[[int], Sequence[Cycle]]
    pause: Callable[[float], None]
    ring: Callable[[], None]
    revive: Callable[[], None]
    night: Callable[[datetime], None]
    ended: Callable[[Stop, Cycle | None, float], None]


class Conductor:
    """One simulated run. speed: simulated seconds per second between slots; nights cost no more than one slot."""

    def __init__(
        self,
        exchange: Exchange,
        work: Work,
        *,
        cycle_seconds: int,
        speed: float,
        nightly: bool,
        patience: float = PATIENCE_SECONDS,
        grace: float = GRACE_SECONDS,
    ) -> None:
        self._exchange = exchange
        self._work = work
        self._cycle_seconds = cycle_seconds
        self._step_seconds = cycle_seconds / speed
        self._nightly = nightly
        self._patience = patience
        self._grace = grace
        self._fresh = True
        self._misses = 0

    def be_patient(self) -> None:
        """A process was started again: the cycle that is waited for, or the next, may take longer."""
        self._fresh = True

    def run(self, cycles: int | None) -> str:
        """Run until `cycles` cycles inside sessions have finished, or the market's data ends; why it stopped.

        NothingRuns: too many slots in a row without a finished cycle.
        """
        finished = 0
        due_at = time.monotonic()
        for stop in self._stops():
            self._pause_until(due_at)
            due_at = time.monotonic() + (self._step_seconds if stop.kind is StopKind.CYCLE else 0.0)
            try:
                self._move(stop.at)
            except Refused as fault:
                return f"the market's data ends here: {fault.message}"
            finished += self._attend(stop)
            if cycles is not None and finished >= cycles:
                return f"{finished} cycles are done"
        return "the calendar ends here"

    def _stops(self) -> Iterator[Stop]:
        """Stops from the exchange's clock on; the stop it stands on comes first unless its work is done."""
        now = self._exchange.now()
        done = self._newest(slot_of(now, self._cycle_seconds))
        after = now if done is not None and done.state != "running" else now - timedelta(microseconds=1)
        start = now.date() - timedelta(days=3)
        while True:
            sessions = self._exchange.sessions(start, start + _SESSIONS_AHEAD)
            last = after
            for stop in stops(sessions, cycle_seconds=self._cycle_seconds, after=after, nightly=self._nightly):
                last = stop.at
                yield stop
            if last == after and not any(session.closes_at > after for session in sessions):
                return
            after = last
            start = after.date()

    def _attend(self, stop: Stop) -> int:
        """Wait for the work of a stop the clock stands on; 1 when it was a cycle inside a session that finished."""
        began = time.monotonic()
        if stop.kind is StopKind.NIGHT:
            self._work.night(stop.at)
            self._work.ended(stop, None, time.monotonic() - began)
            return 0
        inside = stop.kind is StopKind.CYCLE
        cycle = self._await_cycle(stop.at, self._patience if inside else min(self._patience, CLOSE_PATIENCE_SECONDS))
        self._work.ended(stop, cycle, time.monotonic() - began)
        if not inside:
            return 0
        self._misses = 0 if cycle is not None else self._misses + 1
        if self._misses >= MISSES_BEFORE_GIVING_UP:
            raise NothingRuns(f"no cycle finished in {self._misses} slots in a row; see the logs of the workers and of beat")
        if self._misses >= MISSES_BEFORE_RESTART:
            self._work.revive()
        return 1 if cycle is not None else 0

    def _await_cycle(self, at: datetime, patience: float) -> Cycle | None:
        slot = slot_of(at, self._cycle_seconds)
        began = rung = time.monotonic()
        while time.monotonic() - began < (max(self._grace, patience) if self._fresh else patience):
            cycle = self._newest(slot)
            if cycle is not None and cycle.state != "running":
                self._fresh = False
                return cycle
            if time.monotonic() - rung > RING_AGAIN_SECONDS:
                rung = time.monotonic()
                self._work.ring()
            self._work.pause(_POLL_SECONDS)
        self._fresh = False
        return None

    def _newest(self, slot: int) -> Cycle | None:
        for cycle in self._work.newest_cycles(5):
            if slot_of(cycle.slot, self._cycle_seconds) == slot:
                return cycle
        return None

    def _move(self, to: datetime) -> None:
        """Move the clock; an exchange that is being started again gets the patience of a slot."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                if self._exchange.now() < to:
                    self._exchange.move(to)
            except TryAgain:
                if time.monotonic() > deadline:
                    raise
                self._work.pause(0.2)
            else:
                return

    def _pause_until(self, due_at: float) -> None:
        while (left := due_at - time.monotonic()) > 0:
            self._work.pause(min(left, 0.1))
