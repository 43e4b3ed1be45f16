"""What the exit monitor does when prints lie, the venue refuses, answers get lost, somebody dies, or the market is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.domain.order import Order, OrderType, Purpose, Side, TimeInForce, ValidatedOrder, VenueOrder
from app.domain.order_state import OrderState
from app.domain.ports import Broker
from app.domain.trading_state import TradingState
from app.services.database_service import DatabaseService
from tests.exits.guarding import Scene, join, stage
from tests.trading.exchange import build_system, scripted

FLAT = [100] * 60
FALLS = [*FLAT[:10], *[94] * 400]
LOST = Order(
    client_order_id="at-lost", symbol="ACME", side=Side.BUY, quantity=Decimal(10), purpose=Purpose.ENTRY, reason="x",
    type=OrderType.LIMIT, time_in_force=TimeInForce.GTC, limit_price=Decimal(101), take_profit_price=Decimal(110),
    stop_loss_price=Decimal(95),
)  # fmt: skip


class Killed(BaseException):
    """The process is gone."""


class Mortal:
    """A broker whose process can die right before or right after it sends an order."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.dies_before = self.dies_after = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    def submit(self, validated: ValidatedOrder) -> VenueOrder:
        if self.dies_before:
            raise Killed
        answer = self._broker.submit(validated)
        if self.dies_after:
            raise Killed
        return answer


@pytest.fixture
def wrapped() -> tuple[list[Mortal], Callable[[Broker], Mortal]]:
    """The broker that can die, once it is there, and what puts it in place."""
    made: list[Mortal] = []

    def wrap(broker: Broker) -> Mortal:
        made.append(Mortal(broker))
        return made[-1]

    return made, wrap


def adopt(scene: Scene, quantity: str) -> None:
    """A holding that a person had before our books were opened."""
    scene.by_hand(quantity)
    scene.minutes(2)
    scene.open_books()


def test_G04_one_print_sells_nothing_and_two_that_the_minutes_deny_neither(ledger: DatabaseService, tmp_path: Path) -> None:
    with stage(tmp_path, ledger, FLAT) as scene:
        adopt(scene, "0.5")
        for price in (1.0, 1000.0):
            said = {"ACME": {"latestTrade": {"p": price}}}
            number = scene.fault(what="patch", path="/v2/stocks/snapshots", patch=said, times=None)
            for _ in range(3):
                assert scene.look().sold == ()
                scene.minutes(1)
            scene.mend(number)
            assert scene.look().sold == ()
        assert scene.orders() == []


def test_a_fall_that_a_second_print_confirms_is_acted_on_without_minutes(ledger: DatabaseService, tmp_path: Path) -> None:
    with stage(tmp_path, ledger, FALLS) as scene:
        adopt(scene, "0.5")
        scene.minutes(10)
        scene.fault(what="status", status=503, path="/v2/stocks/*/bars", times=None)
        scene.fault(what="status", status=503, path="/v2/stocks/bars", times=None)
        assert scene.look().sold == ()
        scene.minutes(1)
        assert scene.look().sold == ("ACME",)


@pytest.mark.parametrize("refusals", [1, 2])
def test_I13_refused_for_held_shares_it_cancels_again_and_ends_at_the_collar(
    ledger: DatabaseService, tmp_path: Path, refusals: int
) -> None:
    with stage(tmp_path, ledger, FALLS) as scene:
        adopt(scene, "2.5")
        scene.look()  # two shares rest
        scene.system.risk._change("test", "everything is to go", trading_state=TradingState.FLATTENING, cause="operator")
        scene.fault(
            what="status", status=403, code=40310000, message="insufficient qty available for order", method="POST",
            path="/v2/orders", times=refusals,
        )  # fmt: skip
        look = scene.look()
        assert look.sold == ("ACME",)
        sale = scene.orders()[-1]
        assert (sale["qty"], sale["type"]) == ("2.5", "market")
        scene.minutes(2)
        assert scene.held() == 0
        assert sum("refuses to sell" in text for text in scene.alerts()) == refusals


def test_refused_twice_an_exit_with_a_price_goes_out_as_a_limit_within_the_collar(
    ledger: DatabaseService, tmp_path: Path
) -> None:
    with stage(tmp_path, ledger, FALLS) as scene:
        adopt(scene, "0.5")
        scene.minutes(12)
        scene.fault(what="status", status=403, message="insufficient qty", method="POST", path="/v2/orders", times=2)
        assert scene.look().sold == ("ACME",)
        sale = scene.orders()[-1]
        assert (sale["type"], Decimal(sale["limit_price"])) == ("limit", Decimal("89.30"))


def test_refused_for_good_it_says_so_and_tries_again_a_minute_later(ledger: DatabaseService, tmp_path: Path) -> None:
    with stage(tmp_path, ledger, FALLS) as scene:
        adopt(scene, "0.5")
        scene.minutes(12)
        number = scene.fault(what="status", status=403, message="no", method="POST", path="/v2/orders", times=None)
        look = scene.look()
        assert (look.sold, look.notes["ACME"]) == ((), "the venue refuses to sell it")
        alerts = len(scene.alerts())
        scene.look()
        assert len(scene.alerts()) == alerts
        scene.mend(number)
        assert scene.look(60).sold == ("ACME",)


def test_A11_killed_between_cancel_and_replacement_the_replacement_comes_first(
    ledger: DatabaseService, tmp_path: Path, wrapped: tuple[list[Mortal], Any]
) -> None:
    brokers, wrap = wrapped
    with stage(tmp_path, ledger, FLAT, wrap=wrap) as scene:
        scene.open_books()
        scene.buy(10)
        scene.minutes(2)
        scene.look()
        stop = next(one for one in scene.orders() if one["type"] == "stop")
        scene.system.venue.cancel(stop["id"])
        brokers[0].dies_before = True
        with pytest.raises(Killed):
            scene.look()
        assert scene.orders(open_only=True) == []
        brokers[0].dies_before = False
        again = join(scene.exchange, scene.system)
        looks = [again.look(), again.look(31), again.look()]
        scene.minutes(2)
        looks += [again.look(), again.look()]
        assert [one.rested for one in looks].count(("ACME",)) == 1
        assert sorted(one["type"] for one in scene.orders(open_only=True)) == ["limit", "stop"]
        assert again.look().watched == ()


def test_a_protective_order_accepted_but_never_answered_is_found_not_repeated(
    ledger: DatabaseService, tmp_path: Path, wrapped: tuple[list[Mortal], Any]
) -> None:
    brokers, wrap = wrapped
    with stage(tmp_path, ledger, FLAT, wrap=wrap) as scene:
        adopt(scene, "10")
        brokers[0].dies_after = True
        with pytest.raises(Killed):
            scene.look()
        brokers[0].dies_after = False
        again = join(scene.exchange, scene.system)
        for _ in range(4):
            again.look(31)
        assert len(scene.orders()) == 2
        assert [one.state for one in ledger.orders(symbol="ACME") if one.source == "protection"] == [OrderState.OPEN]


def test_A09_an_exit_of_a_cycle_that_died_before_it_sent_it_leaves_no_holding_uncovered(
    ledger: DatabaseService, tmp_path: Path, wrapped: tuple[list[Mortal], Any]
) -> None:
    brokers, wrap = wrapped
    with stage(tmp_path, ledger, FLAT, wrap=wrap) as scene:
        scene.open_books()
        scene.buy(10)
        scene.minutes(10)
        directory = tmp_path / "again"
        directory.mkdir()
        pessimist = build_system(
            scene.exchange, ledger, directory, forecaster=scripted(directory, {"ACME": -0.03}), symbols=("ACME",), wrap=wrap
        )
        brokers[1].dies_before = True
        with pytest.raises(Killed):
            pessimist.trading.run_cycle()
        assert scene.orders(open_only=True) == []  # the legs are cancelled, the sale never left
        guard = join(scene.exchange, scene.system, cycles_live=False)
        guard.look()
        guard.look(31)  # the sender had its time
        scene.minutes(1.1)
        looks = [guard.look(), guard.look()]
        assert ("ACME",) in [one.rested for one in looks]
        assert scene.held() == 10


def test_two_monitors_and_a_cycle_at_once_sell_what_is_held_and_no_more(ledger: DatabaseService, tmp_path: Path) -> None:
    with stage(tmp_path, ledger, {"ACME": FALLS, "EMCA": FALLS}) as scene:
        for symbol in ("ACME", "EMCA"):
            scene.by_hand("7.5", symbol=symbol)
        scene.minutes(2)
        scene.open_books()
        guards = [join(scene.exchange, scene.system) for _ in range(2)]
        scene.minutes(12)
        barrier = threading.Barrier(3)
        faults: list[BaseException] = []

        def race(work: Callable[[], object]) -> None:
            try:
                barrier.wait()
                work()
            except BaseException as fault:  # noqa: BLE001 - told below
                faults.append(fault)

        works = [guards[0].look, guards[1].look, scene.system.trading.run_cycle]
        threads = [threading.Thread(target=race, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults == []
        for _ in range(4):
            scene.minutes(2)
            scene.look(61)
        assert (scene.held("ACME"), scene.held("EMCA")) == (0, 0)


def test_I12_F05_due_when_the_market_is_closed_it_waits_for_the_opening_with_one_alert(
    ledger: DatabaseService, tmp_path: Path
) -> None:
    with stage(tmp_path, ledger, [*[100] * 389, 94]) as scene:
        adopt(scene, "0.5")
        scene.minutes(387)
        scene.look()
        scene.minutes(30)
        assert scene.exchange.state()["is_open"] is False
        looks = [scene.look() for _ in range(4)]
        assert all(one.sold == () and "when the venue opens" in one.notes["ACME"] for one in looks)
        assert len(scene.alerts()) == 1
        assert scene.orders() == []


def test_R11_an_answer_that_got_lost_is_found_by_the_next_look(ledger: DatabaseService, tmp_path: Path) -> None:
    with stage(tmp_path, ledger, FLAT) as scene:
        scene.open_books()
        scene.fault(what="status", status=504, method="POST", path="/v2/orders", when="after", times=1)
        lag = scene.fault(what="status", status=503, path="/v2/orders:by_client_order_id", times=None)
        assert scene.send(LOST).unknown == 1
        scene.mend(lag)
        scene.minutes(2)
        scene.look()
        assert ledger.intent("at-lost").state is OrderState.FILLED
        assert scene.look().watched == ()


def test_R11_an_order_that_never_arrived_is_given_up_within_a_minute(ledger: DatabaseService, tmp_path: Path) -> None:
    with stage(tmp_path, ledger, FLAT) as scene:
        scene.open_books()
        scene.fault(what="reset", when="before", method="POST", path="/v2/orders")
        lag = scene.fault(what="status", status=503, path="/v2/orders:by_client_order_id", times=None)
        assert scene.send(LOST).unknown == 1
        scene.mend(lag)
        seen = []
        for _ in range(12):
            scene.minutes(1 / 12)
            scene.look()
            seen.append(ledger.intent("at-lost").state)
        assert seen[:8] == [OrderState.UNKNOWN] * 8, "too early to be sure"
        assert seen[-2:] == [OrderState.EXPIRED] * 2


def test_a_halt_forbids_decisions_not_protection(ledger: DatabaseService, tmp_path: Path) -> None:
    with stage(tmp_path, ledger, FALLS) as scene:
        adopt(scene, "1.5")
        scene.system.risk.halt("operator", "a walk")
        assert scene.look().rested == ("ACME",)
        scene.minutes(12)
        scene.look()
        scene.minutes(2)
        assert scene.held() == 0


def test_after_lost_books_nothing_is_sold_until_a_person_resumes(ledger: DatabaseService, tmp_path: Path) -> None:
    with stage(tmp_path, ledger, FALLS) as scene:
        scene.by_hand("0.5")
        scene.minutes(2)
        scene.begin()
        scene.minutes(12)
        look = scene.look()
        assert look.sold == ()
        assert "a person has not resumed" in look.notes["ACME"]
        scene.system.risk.resume("operator", "checked")
        assert scene.look().sold == ("ACME",)


def test_C10_what_a_person_bought_is_watched_but_no_order_of_ours_holds_it(ledger: DatabaseService, tmp_path: Path) -> None:
    with stage(tmp_path, ledger, FALLS) as scene:
        scene.open_books()
        scene.minutes(1)
        scene.by_hand("10")
        scene.minutes(2)
        looks = [scene.look() for _ in range(3)]
        assert looks[-1].watched == ("ACME",)
        assert scene.orders() == []
        own = scene.by_hand("4", side="sell", type="limit", limit_price="120", time_in_force="gtc")
        scene.minutes(7)
        scene.system.trading.run_cycle()
        look = scene.look()
        scene.minutes(1)
        looks = [look, scene.look()]
        assert any("a person holds 4" in one.notes.get("ACME", "") for one in looks)
        scene.minutes(6)
        scene.look()
        scene.minutes(2)
        assert scene.held() == 4  # the person's own order is not touched
        assert next(one for one in scene.orders() if one["id"] == own)["status"] == "new"


def test_whose_turn_is_over_commits_nothing(ledger: DatabaseService, tmp_path: Path) -> None:
    with stage(tmp_path, ledger, FALLS, may_act=lambda: False) as scene:
        adopt(scene, "10.5")
        scene.look()
        scene.minutes(12)
        assert scene.look().sold == ()
        assert scene.orders() == []
