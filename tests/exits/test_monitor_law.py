"""A law over random days: monitors, cycles' exits, persons, faults and deaths together never sell what is not held.

Seeded; EXITS_SEEDS says how many days (default 4), EXITS_FIRST where to begin. The account may go short, so that a sale too
much is not refused by the venue but seen in its ledger.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from app.domain.errors import AlphaTraderError, VenueError
from app.services.database_service import DatabaseService
from app.services.guard.exit_orders import ExitOrders
from tests.exits.guarding import LIMITS, Scene, join, stage
from tests.exits.test_monitor_faults import Killed, Mortal

FIRST = int(os.environ.get("EXITS_FIRST", "1"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("EXITS_SEEDS", "4")))
STEPS = 30


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_sold_twice_on_any_day(ledger: DatabaseService, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    brokers: list[Mortal] = []

    def wrap(broker: object) -> Mortal:
        brokers.append(Mortal(broker))  # type: ignore[arg-type]
        return brokers[-1]

    with stage(tmp_path, ledger, _walk(dice), wrap=wrap, multiplier=2, participation=Decimal("0.01")) as scene:
        scene.by_hand(dice.choice(["10", "7.5", "0.25"]))
        scene.minutes(3)
        scene.open_books()
        day = _Day(scene, dice, brokers[0])
        for _ in range(STEPS):
            day.step()
            assert scene.held() >= 0, f"EXITS_FIRST={seed}"
        day.end()
        assert scene.held() >= 0, f"EXITS_FIRST={seed}"
        _is_protected(scene, seed)


class _Day:
    """Whatever can happen, in any order."""

    def __init__(self, scene: Scene, dice: random.Random, broker: Mortal) -> None:
        self.scene, self.dice, self.broker = scene, dice, broker
        self.guards = [scene, join(scene.exchange, scene.system)]
        self.entries = 0
        self.faults: list[int] = []

    def step(self) -> None:
        happens: list[Callable[[], object]] = [
            self.look, self.look, self.look, self.time, self.time, self.buy, self.exit, self.cancel_a_leg, self.fault, self.die,
        ]  # fmt: skip
        self.dice.choice(happens)()

    def look(self) -> None:
        with contextlib.suppress(AlphaTraderError, Killed):
            self.dice.choice(self.guards).look(self.dice.choice([5, 31, 61]))

    def time(self) -> None:
        self.scene.minutes(self.dice.choice([0.5, 1, 2, 5]))

    def buy(self) -> None:
        self.entries += 1
        with contextlib.suppress(AssertionError, AlphaTraderError, Killed):  # no room for it, or no answer
            self.scene.buy(self.dice.choice([3, 20]), name=f"at-entry-{self.entries}", limit="130")

    def exit(self) -> None:
        """As a cycle does: what holds the units is cancelled, and all of them are sold."""
        position = self.scene.database.portfolio().positions.get("ACME")
        if position is None:
            return
        orders = ExitOrders(
            venue=self.scene.system.venue, database=self.scene.database, executor=self.scene.executor, limits=LIMITS
        )
        cancels = [one.client_order_id for one in self.scene.database.unsettled_intents() if one.is_protective]
        now = self.scene.system.venue.clock().now
        with contextlib.suppress(AlphaTraderError, Killed):
            orders.leave(position, position.quantity, "sell_signal", cancels=cancels, now=now)

    def cancel_a_leg(self) -> None:
        legs = [one for one in self.scene.orders(open_only=True) if one["leg"]]
        if legs:
            with contextlib.suppress(VenueError):
                self.scene.system.venue.cancel(self.dice.choice(legs)["id"])

    def fault(self) -> None:
        kinds = [
            {"status": 504, "when": "after"},
            {"status": 504, "when": "before"},
            {"status": 403, "when": "before"},
        ]
        self.scene.fault(what="status", method="POST", path="/v2/orders", times=1, **self.dice.choice(kinds))

    def die(self) -> None:
        self.broker.dies_before, self.broker.dies_after = self.dice.choice([(True, False), (False, True)])
        self.look()
        self.broker.dies_before = self.broker.dies_after = False
        self.guards = [join(self.scene.exchange, self.scene.system), join(self.scene.exchange, self.scene.system)]

    def end(self) -> None:
        """Calm: no faults any more, and time for a last few looks."""
        for _ in range(6):
            self.scene.minutes(1.2)
            with contextlib.suppress(VenueError):  # the last fault
                self.guards[0].look(61)


def _is_protected(scene: Scene, seed: int) -> None:
    """At the end every unit has somebody, by the venue's own list: stops, sales, or the monitor that watches."""
    held = scene.held()
    if held == 0:
        return
    look = scene.look(61)
    covered = sum((Decimal(one["qty"]) for one in scene.orders(open_only=True) if one["type"] != "limit"), Decimal(0))
    assert covered >= held or "ACME" in (*look.watched, *look.sold, *look.rested), f"EXITS_FIRST={seed}: {look}"


def _walk(dice: random.Random) -> list[float]:
    prices = [100.0] * 5
    for _ in range(235):
        prices.append(round(max(60.0, prices[-1] * (1 + dice.choice([-0.03, -0.01, 0, 0, 0.01, 0.03]))), 2))
    return prices
