"""The conductor on a fake exchange and a fake ledger: order, lock-step, misses, the end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pytest

from app.domain.errors import Refused, TryAgain
from app.local import conductor
from app.local.conductor import Conductor, NothingRuns, Work
from app.local.slots import StopKind
from app.runtime.calendar import Session

OPEN = datetime(2024, 1, 3, 14, 30, tzinfo=UTC)
DAYS = [
    Session(date(2024, 1, 3), OPEN, OPEN + timedelta(hours=1)),
    Session(date(2024, 1, 4), OPEN + timedelta(days=1), OPEN + timedelta(days=1, hours=1)),
]


@dataclass
class Cycle:
    cycle_id: str
    slot: datetime
    state: str = "done"
    outcome: str = "completed"


class FakeExchange:
    def __init__(self, now=OPEN, ends=None):
        self.clock, self.ends, self.down = now, ends, 0

    def now(self):
        return self.clock

    def sessions(self, start, end):
        return [day for day in DAYS if start <= day.day <= end]

    def move(self, to):
        if self.down:
            self.down -= 1
            raise TryAgain("starting again")
        if self.ends and to > self.ends:
            raise Refused("the data ends")
        assert to > self.clock
        self.clock = to


class World:
    """A ledger whose cycle of a slot finishes after some looks, unless the slot is dead."""

    def __init__(self, exchange, dead=(), looks=3):
        self.exchange, self.dead, self.looks = exchange, dead, looks
        self.cycles, self.log, self.rings, self.revived, self.waited = [], [], 0, 0, 0

    def newest(self, limit):
        at = self.exchange.clock
        if not self.cycles or self.cycles[-1].slot != at:
            self.waited = 0
            self.cycles.append(Cycle(str(at), at, "running"))
        self.waited += 1
        if self.waited > self.looks and at not in self.dead:
            self.cycles[-1].state = "done"
        return list(reversed(self.cycles))[:limit]

    def work(self):
        return Work(
            newest_cycles=self.newest,
            pause=lambda seconds: None,
            ring=lambda: setattr(self, "rings", self.rings + 1),
            revive=lambda: setattr(self, "revived", self.revived + 1),
            night=lambda at: self.log.append(("night", at)),
            ended=lambda stop, cycle, seconds: self.log.append((stop.kind, stop.at, cycle and cycle.state)),
        )


def make(world, **options):
    settings = {"cycle_seconds": 600, "speed": 1e9, "nightly": False, "patience": 0.1, "grace": 0.1} | options
    return Conductor(world.exchange, world.work(), **settings)


def test_every_slot_in_order_and_each_move_waits_for_the_cycle():
    world = World(FakeExchange())
    assert make(world).run(7).startswith("7 cycles")
    assert [entry[1] for entry in world.log if entry[0] is StopKind.CYCLE] == [
        *(OPEN + timedelta(minutes=10 * i) for i in range(1, 6)),
        *(OPEN + timedelta(days=1, minutes=10 * i) for i in range(1, 3)),
    ]
    assert (StopKind.CLOSE, DAYS[0].closes_at, "done") in world.log
    assert all(state == "done" for *_, state in world.log)


def test_it_ends_with_the_data_and_with_the_calendar():
    world = World(FakeExchange(ends=OPEN + timedelta(minutes=25)))
    assert "the data ends" in make(world).run(None)
    assert len(world.log) == 2
    assert "calendar" in make(World(FakeExchange())).run(None)


def test_a_cycle_cut_off_by_a_stop_is_waited_for_again_and_a_finished_one_is_not():
    at = OPEN + timedelta(minutes=20)
    cut = World(FakeExchange(now=at))
    make(cut).run(1)
    assert cut.log[0][1] == at
    done = World(FakeExchange(now=at), looks=0)
    make(done).run(1)
    assert done.log[0][1] == at + timedelta(minutes=10)


def test_a_missed_slot_is_told_and_the_run_goes_on():
    dead = OPEN + timedelta(minutes=20)
    world = World(FakeExchange(), dead=(dead,))
    make(world).run(3)
    assert [entry[2] for entry in world.log] == ["done", None, "done", "done"]
    assert world.revived == 0


def test_who_does_no_work_is_replaced_and_in_the_end_given_up(monkeypatch):
    monkeypatch.setattr(conductor, "RING_AGAIN_SECONDS", 0.03)
    slots = [OPEN + timedelta(days=d, minutes=10 * i) for d in (0, 1) for i in range(7)]
    world = World(FakeExchange(), dead=slots)
    with pytest.raises(NothingRuns, match="4 slots"):
        make(world).run(None)
    assert world.revived == 2
    assert world.rings >= 4


def test_an_exchange_that_is_started_again_is_waited_for():
    exchange = FakeExchange()
    exchange.down = 3
    assert make(World(exchange), patience=5).run(1).startswith("1 cycles")


def test_the_night_is_attended_after_the_close():
    world = World(FakeExchange())
    make(world, nightly=True).run(6)
    kinds = [entry[0] for entry in world.log]
    assert kinds[5:8] == [StopKind.CLOSE, "night", StopKind.NIGHT]
    assert world.log[6][1] == datetime(2024, 1, 3, 23, 0, tzinfo=UTC)


def test_pace(monkeypatch):
    paused = []
    clock = iter(float(i) / 100 for i in range(10**6))
    monkeypatch.setattr(conductor.time, "monotonic", lambda: next(clock))
    world = World(FakeExchange(), looks=0)
    work = world.work()
    slow = Work(**{name: getattr(work, name) for name in Work.__slots__ if name != "pause"}, pause=paused.append)
    Conductor(world.exchange, slow, cycle_seconds=600, speed=600, nightly=False).run(3)
    assert len([seconds for seconds in paused if seconds == 0.1]) >= 20  # two waits of a second, minus the work
