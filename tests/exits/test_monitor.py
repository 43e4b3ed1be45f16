"""The exit monitor against the real simulated exchange: what it leaves alone, what it protects, what it sells."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from app.domain.order_state import OrderState
from app.services.database_service import DatabaseService
from tests.exits.guarding import stage

FLAT = [100] * 60


def test_a_bracket_at_the_venue_needs_nothing(ledger: DatabaseService, tmp_path: Path) -> None:
    with stage(tmp_path, ledger, [*FLAT[:10], *[94] * 20]) as scene:
        scene.open_books()
        scene.buy(10)
        scene.look()
        scene.minutes(5)
        before = scene.system.wire.calls
        look = scene.look()
        assert (look.holdings, look.watched, dict(look.notes)) == (1, (), {})
        assert scene.system.wire.calls - before == 3  # clock, positions, open orders
        assert ledger.fills() == []  # and nothing was written: the cycle books as ever
        scene.minutes(10)
        scene.look()
        assert scene.held() == 0
        assert len(scene.orders()) == 2  # the bracket's own legs


def test_adopted_shares_get_stop_and_target_at_the_venue_and_the_fraction_is_watched(
    ledger: DatabaseService, tmp_path: Path
) -> None:
    with stage(tmp_path, ledger, [*FLAT[:20], *[94] * 20]) as scene:
        scene.by_hand("10.5")
        scene.minutes(2)
        scene.open_books()
        look = scene.look()
        assert (look.rested, look.watched) == (("ACME",), ("ACME",))
        resting = scene.orders(open_only=True)
        assert [(one["type"], one["qty"]) for one in resting] == [("limit", "10"), ("stop", "10")]
        assert (resting[0]["limit_price"], resting[1]["stop_price"]) == ("110", "95")
        look = scene.look()
        assert (look.rested, look.watched, look.sold) == ((), ("ACME",), ())
        scene.minutes(22)
        look = scene.look()
        assert look.sold == ("ACME",)
        scene.minutes(2)
        assert scene.held() == 0
        fraction = scene.orders()[-1]
        assert (fraction["qty"], fraction["type"], fraction["status"]) == ("0.5", "market", "filled")
        assert any("stop_loss" in text for text in scene.alerts())
        assert scene.look().holdings == 0


def test_C01_C02_a_partly_filled_entry_is_watched_and_what_it_leaves_gets_a_stop(
    ledger: DatabaseService, tmp_path: Path
) -> None:
    with stage(tmp_path, ledger, [100, 100, 105, *[105] * 30, *[100] * 20], participation=Decimal("0.004")) as scene:
        scene.open_books()
        scene.buy(10, limit="100.5")  # 4 of 1,000 a minute, and then the price is away
        scene.minutes(3)
        held = scene.held()
        assert 0 < held < 10
        look = scene.look()
        assert (look.watched, look.rested) == (("ACME",), ())
        scene.executor.send([], cancels=["at-entry"], cycle_id=None, now=scene.system.venue.clock().now)
        look = scene.look()
        assert look.rested == ("ACME",)
        assert {one["qty"] for one in scene.orders(open_only=True)} == {str(held)}
        assert scene.look().watched == ()
        assert ledger.intent("at-entry").state is OrderState.CANCELED


def test_the_filled_part_of_an_open_entry_is_sold_at_its_stop_and_the_rest_cancelled(
    ledger: DatabaseService, tmp_path: Path
) -> None:
    prices = [100, 100, 105, 105, *[90] * 60]
    with stage(tmp_path, ledger, prices, participation=Decimal("0.004")) as scene:
        scene.open_books()
        scene.buy(60, limit="100.5")
        scene.minutes(3)
        assert scene.held() > 0
        assert scene.look().sold == ()
        scene.minutes(2)
        look = scene.look()
        assert look.sold == ("ACME",)
        assert next(one for one in scene.orders(side="buy"))["status"] == "canceled"
        scene.minutes(20)
        scene.look()
        scene.minutes(20)
        assert scene.held() == 0


def test_C13_a_holding_whose_stop_is_gone_is_protected_anew(ledger: DatabaseService, tmp_path: Path) -> None:
    with stage(tmp_path, ledger, FLAT) as scene:
        scene.open_books()
        scene.buy(10)
        scene.minutes(2)
        scene.look()
        stop = next(one for one in scene.orders() if one["type"] == "stop")
        scene.system.venue.cancel(stop["id"])
        look = scene.look()
        assert look.rested == ("ACME",)
        kinds = sorted(one["type"] for one in scene.orders(open_only=True))
        assert kinds == ["limit", "stop"]
        assert scene.look().watched == ()


def test_C13_a_stop_that_goes_again_is_put_back_at_the_next_look(ledger: DatabaseService, tmp_path: Path) -> None:
    """What the venue then shows was seen just before: the same holding, and no order."""
    with stage(tmp_path, ledger, FLAT) as scene:
        scene.open_books()
        scene.buy(10)
        scene.minutes(2)
        for looks_between in (1, 1, 0, 0, 1):
            for _ in range(looks_between):
                scene.look()
            stop = next(one for one in scene.orders(open_only=True) if one["type"] == "stop")
            scene.system.venue.cancel(stop["id"])
            assert scene.look().rested == ("ACME",)
