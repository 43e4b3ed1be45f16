"""The watchdog on progress: when it speaks, through which door, and that of two only one does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.domain.errors import AlphaTraderError
from app.services.database_service import DatabaseService
from app.services.guard.watchdog import LEASE, Progress, Watchdog
from app.storage.database import StorageUnavailable
from tests.databases import HandClock

OPENS = datetime(2024, 1, 3, 14, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Hand:
    """A venue's clock and this machine's, both moved by hand."""

    def __init__(self) -> None:
        self.at, self.is_open, self.answers, self.monotonic = OPENS, True, True, 0.0

    def reading(self):
        return (self.at, self.is_open) if self.answers else None

    def forward(self, minutes: float) -> None:
        self.at += minutes * MINUTE
        self.monotonic += minutes * 60


@pytest.fixture
def hand():
    return Hand()


@pytest.fixture
def ledger(database):
    return DatabaseService(database, HandClock())


def progress(hand, *, simulated=False):
    return Progress(hand.reading, simulated=simulated, monotonic=lambda: hand.monotonic)


def watchdog(hand, ledger, *, said=None, delivered=None):
    return Watchdog(
        progress=progress(hand),
        database=ledger,
        cycle_seconds=600,
        mode="paper",
        deliver=lambda: delivered.append(1) if delivered is not None else None,
        say=(said if said is not None else []).append,
        monotonic=lambda: hand.monotonic,
    )


def finish_cycle(ledger, slot, outcome="completed"):
    name = f"{slot:%Y%m%dT%H%M%SZ}"
    ledger.claim_cycle(name, slot=slot, started_at=slot, owner="x:1:1", trigger="schedule", is_alive=lambda _: False)
    ledger.finish_cycle(name, outcome=outcome, detail="", finished_at=slot, timings={}, equity=None)


def told(ledger):
    return [message.message for message in ledger.outbox_pending(50)]


def test_A14_J08_people_are_told_once_after_twenty_minutes_of_session_and_once_when_it_is_over(hand, ledger):
    dog = watchdog(hand, ledger)
    finish_cycle(ledger, OPENS)
    for minute in range(61):
        hand.at = OPENS + minute * MINUTE
        dog.look()
        assert len(told(ledger)) == (minute > 20)
    assert "60 minutes" not in told(ledger)[0]
    assert "21 minutes of session" in told(ledger)[0]
    finish_cycle(ledger, hand.at)
    dog.look()
    dog.look()
    assert len(told(ledger)) == 2
    assert "again" in told(ledger)[1]


@pytest.mark.parametrize("outcome", ["failed", "already_running", "abandoned"])
def test_a_cycle_that_did_not_do_its_work_is_no_progress(hand, ledger, outcome):
    dog = watchdog(hand, ledger)
    for _ in range(4):
        dog.look()
        finish_cycle(ledger, hand.at, outcome)
        hand.forward(10)
    dog.look()
    assert len(told(ledger)) == 1


def test_nights_weekends_and_the_time_before_the_first_look_do_not_count(hand):
    measured = progress(hand)
    assert measured.silence(OPENS - timedelta(days=3)) == timedelta(0)
    hand.forward(15)
    assert measured.silence(None) == 15 * MINUTE
    hand.is_open = False
    hand.forward(60 * 17)
    assert measured.silence(None) == timedelta(0)
    hand.is_open = True
    assert measured.silence(OPENS) == timedelta(0)
    hand.forward(5)
    assert measured.silence(OPENS) == 5 * MINUTE


def test_time_goes_on_while_a_real_venue_does_not_answer_and_a_simulated_one_stands(hand):
    real, simulated = progress(hand), progress(hand, simulated=True)
    assert real.silence(None) == simulated.silence(None) == timedelta(0)
    hand.answers = False
    hand.forward(25)
    assert real.silence(None) == 25 * MINUTE
    assert simulated.silence(None) == timedelta(0)


def test_a_venue_that_was_never_reached_says_nothing(hand):
    hand.answers = False
    assert progress(hand).silence(None) == timedelta(0)


def test_of_two_watchdogs_one_speaks_and_the_other_takes_over(hand, ledger):
    first, second = watchdog(hand, ledger), watchdog(hand, ledger)
    first.look()
    # Both live in this process here; the lease tells owners apart, so the second is given another name in the table.
    held = ledger.lease(LEASE)
    assert held is not None
    fence = ledger.take_lease(LEASE, owner="elsewhere:1:1", patience=timedelta(0), is_alive=lambda _: True)
    hand.forward(30)
    first.look()
    second.look()
    assert told(ledger) == []
    ledger.release_lease(LEASE, fence=fence)
    second.look()
    hand.forward(21)
    second.look()
    assert len(told(ledger)) == 1


def test_messages_that_nobody_delivers_are_delivered(hand, ledger):
    delivered = []
    dog = watchdog(hand, ledger, delivered=delivered)
    finish_cycle(ledger, OPENS)
    ledger.enqueue_alert("alert", "one")
    dog.look()
    hand.monotonic += 59
    dog.look()
    assert not delivered
    hand.monotonic += 1
    dog.look()
    assert delivered


def test_a_database_that_takes_nothing_is_spoken_past(hand, ledger):
    class Locked:
        def __getattr__(self, name):
            def refuse(*_, **__) -> None:
                raise StorageUnavailable("locked")

            return refuse

    said = []
    dog = watchdog(hand, ledger, said=said)
    dog.look()
    dog._database = Locked()
    hand.forward(21)
    dog.look()
    dog.look()
    assert len(said) == 1
    assert "21 minutes" in said[0]
    assert issubclass(StorageUnavailable, AlphaTraderError)
