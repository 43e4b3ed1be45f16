"""One owner at a time, and a fence that tells a late one."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from app.services.database_service import DatabaseService
from tests.databases import HandClock

PATIENCE = timedelta(seconds=30)


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def ledger(database, clock):
    return DatabaseService(database, clock)


def take(ledger, owner, alive=True):
    return ledger.take_lease("work", owner=owner, patience=PATIENCE, is_alive=lambda _: alive)


def test_a_lease_passes_on_when_it_is_given_back_its_owner_dies_or_sleeps(ledger, clock):
    assert ledger.lease("work") is None
    assert take(ledger, "a") == 1
    assert take(ledger, "b") is None
    assert take(ledger, "b", alive=False) == 2
    clock.forward(29)
    assert take(ledger, "c") is None
    assert ledger.renew_lease("work", fence=2, status={"n": 1})
    clock.forward(29)
    assert take(ledger, "c") is None
    clock.forward(1)
    assert take(ledger, "c") == 3
    ledger.release_lease("work", fence=2)  # too late: it is c's
    assert take(ledger, "d") is None
    ledger.release_lease("work", fence=3)
    assert take(ledger, "d") == 4


def test_D09_who_overslept_renews_nothing(ledger, clock):
    late = take(ledger, "a")
    clock.forward(31)
    assert take(ledger, "b") == 2
    assert not ledger.renew_lease("work", fence=late, status={})
    held = ledger.lease("work")
    assert (held.owner, held.fence) == ("b", 2)


@pytest.mark.parametrize("step", [-7_200, 26 * 3_600])
def test_a_clock_that_is_set_blocks_nobody_for_longer_than_the_patience(ledger, clock, step):
    take(ledger, "a")
    clock.forward(step)
    assert take(ledger, "b") == 2


def test_of_many_at_once_one_gets_it(ledger):
    fences = []
    threads = [threading.Thread(target=lambda n=n: fences.append(take(ledger, f"p{n}"))) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(fence for fence in fences if fence is not None) == [1]


def test_redeliveries_are_counted_by_message(ledger):
    assert [ledger.note_redelivery("m", "task") for _ in range(3)] == [1, 2, 3]
    assert ledger.note_redelivery("n", "task") == 1
