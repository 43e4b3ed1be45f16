"""How long the kill switch, the liquidation and a breaker's message take (K01, K03, K07); see test_deadlines.py."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from app.domain.trading_state import TradingState
from app.runtime.clock import WallClock
from app.services.database_service import DatabaseService
from app.services.guard.kill_switch import RECORDING_PATIENCE_SECONDS, SWEEP_WAITS_SECONDS
from app.storage.database import Database
from tests.exits.guard_process import until
from tests.exits.guarding import Scene, stage
from tests.faults.bench import RESTING
from tests.faults.controller import Process, Stack, stack
from tests.faults.controller_process import SYMBOLS
from tests.faults.deadlines import LONG, Throw, by_command, by_file, by_rest, held_database, instant, judge, now, received
from tests.processes.paper import Paper, paper
from tests.processes.test_queue_faults import post
from tests.processes.webhook import Discord, discord

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]

RISING = dict.fromkeys(SYMBOLS, 0.03)
Way = Callable[[Stack], AbstractContextManager[Throw]]


@pytest.fixture
def database_file(tmp_path: Path, sqlite_template: Path) -> Path:
    path = tmp_path / "ledger.db"
    path.write_bytes(sqlite_template.read_bytes())
    return path


# -- K01: the kill switch in the middle of a batch ------------------------------------------------------------------------
def entries(here: Stack, since: datetime) -> list[datetime]:
    """When orders arrived that add risk."""
    posts = [one for one in received(here.venue, since) if (one["method"], one["path"]) == ("POST", "/v2/orders")]
    return [instant(one["received_at"]) for one in posts if json.loads(one["body"])["side"] == "buy"]


def rests_nothing(here: Stack) -> bool:
    return not any(one["side"] == "buy" and one["status"] in RESTING for one in here.venue.ledger()["orders"])


def killed(here: Stack, trader: Process, way: Way, throw: Throw, *, locked: bool) -> tuple[float, float]:
    """Seconds from the request to the last entry sent, and to the last answer to a cancel. locked: another process writes to
    the database all the while. A command counts from its first act; how long Python took to start is printed."""
    began = now()
    trader.begin("cycle", RISING)
    until(lambda: len(entries(here, began)) >= 2)
    with held_database(here.directory / "ledger.db") if locked else nullcontext():
        asked = now()
        throw()
        if way is by_command:
            acted = datetime.fromtimestamp((here.directory / "KILL").stat().st_mtime, UTC)
            print(f"K01: the command had started after {(acted - asked).total_seconds():.1f} s")
            asked = acted
        until(lambda: rests_nothing(here))
        time.sleep(2)  # an order on its way arrives
    assert trader.answer() == "completed"
    assert rests_nothing(here)
    cancelled = [instant(one["answered_at"]) for one in received(here.venue, asked) if one["method"] == "DELETE"]
    assert len(cancelled) >= 2
    assert len(entries(here, began)) < 7 or way is by_command, "it was in the middle of its batch"
    last = max([asked, *entries(here, began)])
    return (last - asked).total_seconds(), (max(cancelled) - asked).total_seconds()


@pytest.mark.parametrize("way", [by_file, *(pytest.param(way, marks=pytest.mark.long) for way in (by_rest, by_command))])
def test_K01_the_kill_switch_stops_entries_in_the_middle_of_a_batch(database_file: Path, tmp_path: Path, way: Way) -> None:
    sent, cancelled = [], []
    with stack(tmp_path, f"sqlite:///{database_file}") as here, way(here) as throw:
        trader = here.start()
        trader.do("watch")
        seconds = 4 if way is by_command else 1  # Python takes its time to start
        here.venue.fault(what="latency", method="POST", path="/v2/orders", seconds=seconds, times=None)
        for locked in (False, True) * 5 if LONG else (True,):
            if sent:  # the switch that was thrown before has done all its work
                time.sleep(sum(SWEEP_WAITS_SECONDS) + RECORDING_PATIENCE_SECONDS)
                assert trader.do("resume") == "resumed"
            last_entry, last_cancel = killed(here, trader, way, throw, locked=locked)
            sent.append(last_entry)
            cancelled.append(last_cancel)
        trader.stop()
    name = way.__name__.replace("_", " ")
    judge(f"K01 {name}: last entry sent", sent, 5)
    judge(f"K01 {name}: entries cancelled", cancelled, 10)


# -- K03: everything is sold ----------------------------------------------------------------------------------------------
CALL_SECONDS = 2.0
FALL = [*[100] * 30, *[Decimal("95.3")] * 90]  # seven tenths of the account lose 4.7 %, and no stop is reached
SEVEN = [f"S{number}" for number in range(7)]


@contextmanager
def about_to_sell(directory: Path, ledger: DatabaseService) -> Iterator[Scene]:
    """Seven positions, a loss beyond the limit, and the first of the two readings that it takes."""
    with stage(directory, ledger, dict.fromkeys(SEVEN, FALL)) as scene:
        scene.open_books()
        for symbol in SEVEN:
            scene.buy(99, f"at-entry-{symbol}", symbol)
        scene.minutes(10)
        scene.system.trading.run_cycle()
        scene.minutes(25)
        scene.system.trading.run_cycle()
        state = ledger.risk_state()
        assert state is not None and state.suspected_at is not None
        scene.minutes(10)
        yield scene


@pytest.mark.parametrize("number", range(3 if LONG else 1))
def test_K03_a_confirmed_loss_is_sold_within_a_minute(database_file: Path, tmp_path: Path, number: int) -> None:
    """The long form waits two seconds for every answer of the venue; the short one counts the calls."""
    ledger = DatabaseService(Database(f"sqlite:///{database_file}"), WallClock())
    with about_to_sell(tmp_path, ledger) as scene:
        if LONG:
            scene.fault(what="latency", path="/v2/*", seconds=CALL_SECONDS, times=None)
        began = now()
        assert scene.system.trading.run_cycle().orders == len(SEVEN)
        state = ledger.risk_state()
        assert state is not None and state.trading_state is TradingState.FLATTENING
        scene.exchange.mend()
        calls = received(scene.exchange, began)
        reading = next(one for one in calls if one["path"] == "/v2/account")
        *_, last = (one for one in calls if one["method"] == "POST")
        count = calls.index(last) - calls.index(reading) + 1
        taken = (instant(last["answered_at"]) - instant(reading["received_at"])).total_seconds()
        judge(f"K03 round {number + 1}: {count} calls from the confirming reading to the last close", [taken])
        assert count * CALL_SECONDS <= 60
        scene.minutes(2)
        sold = Counter(one["symbol"] for one in scene.orders() if one["status"] == "filled")
        assert sold == dict.fromkeys(SEVEN, 1)
        assert all(scene.held(symbol) == 0 for symbol in SEVEN)
    ledger.close()


# -- K07: people hear of it -----------------------------------------------------------------------------------------------
def heard(channel: Discord, word: str, since: datetime) -> list[datetime]:
    """When posts with that word arrived."""
    return [at for at, text in zip(channel.arrived, channel.posts, strict=False) if at > since and word in text]


def tripped(here: Paper, channel: Discord) -> float:
    """A person resumes, and the next cycle's breaker fires: seconds from its commit to the arrival of what it says. The clocks
    of this venue and of ours are years apart, and that is one of the breakers."""
    began, before = now(), newest(here)
    assert post(here, "/risk/resume").ok
    until(lambda: here.ledger(f"SELECT id FROM outbox WHERE id > {before} AND message LIKE '%clock_skew%'"))
    committed = now()
    until(lambda: heard(channel, "clock_skew", began))
    return (min(heard(channel, "clock_skew", began)) - committed).total_seconds()


def halted(here: Paper, channel: Discord) -> float:
    """Seconds from a person's halt to the arrival of its message; no cycle hands it on."""
    began = now()
    assert post(here, "/risk/halt").ok
    until(lambda: heard(channel, "HALTED", began))
    return (min(heard(channel, "HALTED", began)) - began).total_seconds()


def newest(here: Paper) -> int:
    return int(here.ledger("SELECT coalesce(max(id), 0) FROM outbox")[0][0])


@pytest.mark.long
def test_K07_a_breaker_is_told_within_seconds(tmp_path: Path) -> None:
    by_cycle, by_person, chance = [], [], random.Random(1)
    environment = {"TRADING_CYCLE_SECONDS": "20"}  # so that the end of a cycle seldom hands on what a person said
    with discord(tmp_path) as channel, paper(tmp_path, {}, environment | channel.environment) as here:
        here.wait_until(lambda: here.answers() and here.cycles() >= 2, 300)
        for _ in range(5):
            by_cycle.append(tripped(here, channel))
            time.sleep(chance.uniform(0, 5))
            by_person.append(halted(here, channel))
    judge("K07: breaker of a cycle, to the channel", by_cycle, 5)
    judge("K07: halt by a person, to the channel", by_person, 5)
