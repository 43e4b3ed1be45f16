"""How long safety takes, by the clock on the wall: real processes, the real simulated exchange, the written bounds.

Each figure is printed (`pytest -s`). `make test` takes one round of what fits into seconds; FAULTS=long takes them all.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from app.domain.order import Order, OrderType, Purpose, Side, TimeInForce
from app.runtime.clock import WallClock
from app.services.database_service import DatabaseService
from app.services.guard.protection import GUARD
from app.services.trading.order_lookup import is_in_flight
from app.storage.database import Database
from tests.exits.guard_process import PAPER, guard, until
from tests.exits.guarding import Scene, stage
from tests.faults.deadlines import LONG, judge

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]

ROUNDS = 10 if LONG else 1
FLAT = [100] * 380
CHANCE = random.Random(1)
LOOKS_EVERY_SECONDS = 5.0


@pytest.fixture
def database_file(tmp_path: Path, sqlite_template: Path) -> Path:
    path = tmp_path / "ledger.db"
    path.write_bytes(sqlite_template.read_bytes())
    return path


@pytest.fixture
def ledger(database_file: Path) -> Iterator[DatabaseService]:
    ledger = DatabaseService(Database(f"sqlite:///{database_file}"), WallClock())
    yield ledger
    ledger.close()


def at_any_moment() -> None:
    """Between two looks of the exit monitor; in the short form now."""
    time.sleep(CHANCE.uniform(0, LOOKS_EVERY_SECONDS * LONG))


# -- R10: a filled position without protection --------------------------------------------------------------------------
def is_covered(scene: Scene, symbol: str) -> bool:
    """Whether stops that rest at the venue take every unit."""
    stops = [one for one in scene.orders(open_only=True) if one["type"] == "stop" and one["symbol"] == symbol]
    return sum((Decimal(one["qty"]) for one in stops), Decimal(0)) == scene.held(symbol) > 0


def uncover(scene: Scene, symbol: str) -> None:
    """A person cancels the stop that rests at the venue."""
    (stop,) = (one for one in scene.orders(open_only=True) if one["type"] == "stop" and one["symbol"] == symbol)
    scene.system.venue.cancel(stop["id"])
    assert not is_covered(scene, symbol)


def fill_without_legs(scene: Scene, symbol: str) -> None:
    """An entry is filled, and the venue keeps nothing of what was to protect it."""
    scene.buy(10, f"at-entry-{symbol}", symbol)
    scene.minutes(2)
    uncover(scene, symbol)


@pytest.mark.long
def test_R10_a_holding_is_covered_again_within_a_minute(database_file: Path, ledger: DatabaseService, tmp_path: Path) -> None:
    bare, cancelled, restarted = [], [], []
    symbols = [f"S{number}" for number in range(ROUNDS)]
    with stage(tmp_path, ledger, dict.fromkeys(symbols, FLAT), speed=1.0) as scene:
        scene.open_books()
        with guard(scene, tmp_path, database_file, **PAPER):
            until(lambda: ledger.lease(GUARD))
            for symbol in symbols:
                at_any_moment()
                fill_without_legs(scene, symbol)
                bare.append(until(lambda symbol=symbol: is_covered(scene, symbol)))
                at_any_moment()
                uncover(scene, symbol)
                cancelled.append(until(lambda symbol=symbol: is_covered(scene, symbol)))
        for symbol in symbols:
            uncover(scene, symbol)
            began = time.monotonic()
            with guard(scene, tmp_path, database_file, **PAPER):
                until(lambda symbol=symbol: is_covered(scene, symbol))
                restarted.append(time.monotonic() - began)
    judge("R10: filled without legs, exit monitor alive", bare)
    judge("R10: stop cancelled at the venue, exit monitor alive", cancelled)
    judge("R10: stop cancelled at the venue, from the start of the exit monitor", restarted)


# -- R11: an order of which nobody knows what became ----------------------------------------------------------------------
def lose_answer(scene: Scene, when: str, symbol: str) -> str:
    """An entry is sent and its answer lost, before or after the venue takes it; its id."""
    scene.fault(what="reset", when=when, method="POST", path="/v2/orders")
    order = Order(
        client_order_id=f"at-entry-{symbol}",
        symbol=symbol,
        side=Side.BUY,
        quantity=Decimal(10),
        purpose=Purpose.ENTRY,
        reason="buy_signal",
        type=OrderType.LIMIT,
        time_in_force=TimeInForce.GTC,
        limit_price=Decimal(98),
        take_profit_price=Decimal(110),
        stop_loss_price=Decimal(95),
    )
    assert scene.send(order).unknown == 1
    return order.client_order_id


def resolved(ledger: DatabaseService, names: list[str]) -> dict[str, float]:
    """Seconds from now until the fate of each order is known."""
    began, taken = time.monotonic(), dict[str, float]()
    while len(taken) < len(names):
        assert time.monotonic() - began < 120, "not resolved"
        time.sleep(0.05)
        known = [name for name in names if name not in taken and not is_in_flight(ledger.intent(name))]
        taken |= dict.fromkeys(known, time.monotonic() - began)
    return taken


def test_R11_an_order_without_an_answer_is_resolved_within_a_minute(
    database_file: Path, ledger: DatabaseService, tmp_path: Path
) -> None:
    taken, lost = [[f"{kind}{number}" for number in range(count)] for kind, count in (("T", ROUNDS), ("L", ROUNDS * LONG))]
    with (
        stage(tmp_path, ledger, dict.fromkeys(taken + lost, FLAT), speed=1.0) as scene,
        guard(scene, tmp_path, database_file, **PAPER),
    ):
        scene.open_books()
        until(lambda: ledger.lease(GUARD))
        scene.fault(what="status", status=503, path="/v2/orders:by_client_order_id", times=None)
        accepted = [lose_answer(scene, "after", symbol) for symbol in taken]
        never_arrived = [lose_answer(scene, "before", symbol) for symbol in lost]
        scene.fault(what="status", status=503, path="*", times=None)
        at_any_moment()
        time.sleep(LOOKS_EVERY_SECONDS)  # at least one look in vain
        scene.exchange.mend()
        seconds = resolved(ledger, accepted + never_arrived)
        assert {one["client_order_id"] for one in scene.orders(side="buy")} == set(accepted)
    judge("R11: accepted, answer lost", [seconds[name] for name in accepted])
    if LONG:
        judge("R11: lost on the way", [seconds[name] for name in never_arrived])
