"""One process has the turn; the status tells who protects what."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from app.services.database_service import DatabaseService
from app.services.guard.guard_duty import GuardDuty, Turn
from app.services.guard.protection import ProtectionService
from app.storage.database import Database
from tests.databases import HandClock
from tests.exits.guarding import LIMITS, Hand, Scene, stage


def test_a_second_process_waits_until_the_first_ends_dies_or_stops_renewing(database: Database) -> None:
    clock, hand = HandClock(), Hand()
    ledger = DatabaseService(database, clock)
    one, two = (Turn(ledger, owner=name, alive=lambda _: True, monotonic=hand) for name in ("one", "two"))
    assert (one.hold(), two.hold()) == (True, False)
    one.give_back()
    assert (two.hold(), one.hold()) == (True, False)
    mourner = Turn(ledger, owner="three", alive=lambda _: False, monotonic=hand)
    assert mourner.hold()
    assert not two.may_act()  # it was taken for dead
    clock.forward(timedelta(seconds=61).total_seconds())
    assert two.hold()
    assert not mourner.may_act()


def duty(scene: Scene, turn: Turn) -> GuardDuty:
    return GuardDuty(
        monitor=scene.monitor, venue=scene.system.venue, turn=turn, interval_seconds=5, follows_venue=True, monotonic=scene.hand
    )


def test_the_status_tells_who_sells_and_what_happens_while_we_are_away(ledger: DatabaseService, tmp_path: Path) -> None:
    with stage(tmp_path, ledger, [100] * 30) as scene:
        scene.by_hand("10.5")
        scene.minutes(2)
        scene.open_books()
        service = ProtectionService(database=ledger, limits=LIMITS, clock=scene.system.venue._clock, is_alive=lambda _: True)
        (before,) = service.status().positions
        assert (before.protected_by, before.why) == (
            "nobody", "nothing rests at the venue and the exit monitor does not run",
        )  # fmt: skip
        turn = Turn(ledger, owner="me", alive=lambda _: True, monotonic=scene.hand)
        on_duty = duty(scene, turn)
        assert on_duty.once() is not None
        assert on_duty.once() is None  # the venue's clock stands
        status = service.status()
        (after,) = status.positions
        assert status.guard_alive
        assert (after.protected_by, after.venue_quantity, after.guard_quantity) == (
            "venue_and_guard", Decimal(10), Decimal("0.5"),
        )  # fmt: skip
        assert "10 of 10.5 units; nothing would sell the other 0.5" in after.offline
        turn.give_back()
        assert service.status().positions[0].protected_by == "nobody"


def test_a_venue_that_does_not_answer_ends_nothing(ledger: DatabaseService, tmp_path: Path) -> None:
    with stage(tmp_path, ledger, [100] * 30) as scene:
        scene.open_books()
        on_duty = duty(scene, Turn(ledger, owner="me", alive=lambda _: True, monotonic=scene.hand))
        number = scene.fault(what="status", status=503, path="/v2/*", times=None)
        assert on_duty.once() is None
        scene.mend(number)
        assert on_duty.once() is not None
