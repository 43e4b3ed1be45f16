"""Whatever we, people, the venue and death do in whatever order, the books end up equal, and nothing is left unexplained.

RECONCILE_CASES=n pytest tests/reconcile/test_laws.py      n interleavings; a failing one prints its steps
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.runtime.clock import WallClock
from app.services.database_service import DatabaseService
from app.storage.database import Database
from tests.databases import wipe
from tests.trading.exchange import SYMBOLS, Exchange, System, build_system, scripted, serve_exchange

CASES = int(os.environ.get("RECONCILE_CASES", "5"))
DAYS = int(os.environ.get("RECONCILE_DAYS", "1"))
SEED = int(os.environ.get("SEED", "0"))
DEATHS = 10
HEADERS = {"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s"}
SOME = SYMBOLS[:4]


class Killed(BaseException):
    """The process is gone. Nothing in the product catches it."""


@dataclass
class Fuse:
    """Burns down by one at each call through a tap; at zero the process dies. None: it does not."""

    left: int | None = None
    calls: int = 0

    def burn(self) -> None:
        self.calls += 1
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise Killed


class Tap:
    """Stands before an object and burns the fuse before and after each of its methods."""

    def __init__(self, behind: Any, fuse: Fuse) -> None:
        self._behind, self._fuse = behind, fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._behind, name)
        if not callable(found):
            return found

        def call(*args: Any, **options: Any) -> Any:
            self._fuse.burn()
            answer = found(*args, **options)
            self._fuse.burn()
            return answer

        return call


@dataclass
class Desk:
    """One installation and one person on the same account."""

    exchange: Exchange
    database: DatabaseService
    directory: Path
    fuse: Fuse = field(default_factory=Fuse)
    system: System = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A new life of the process."""
        tapped: Any = Tap(self.database, self.fuse)
        forecaster = scripted(self.directory, {})
        self.system = build_system(
            self.exchange, tapped, self.directory, forecaster=forecaster, wrap=lambda broker: Tap(broker, self.fuse)
        )

    def survive(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Killed:
            self.start()

    def do(self, what: str, number: int) -> None:
        symbol, units = SOME[number % len(SOME)], str(1 + number % 5)
        match what:
            case "cycle":
                signs = {name: 0.03 * (-1) ** (number >> i) for i, name in enumerate(SOME)}
                scripted(self.directory, signs)
                self.survive(self.system.trading.run_cycle)
            case "reconcile":
                self.survive(lambda: self.system.trading.reconcile("nightly" if number % 2 else "manual"))
            case "minutes":
                self.exchange.step(60 * (1 + number % 12))
            case "buy" | "sell":
                limit = {"type": "limit", "limit_price": "1.00" if what == "buy" else "9999", "time_in_force": "gtc"}
                terms = limit if number % 3 == 0 else {"type": "market", "time_in_force": "day"}
                self.exchange.order(symbol=symbol, side=what, qty=units if number % 4 else f"{units}.25", **terms)
            case "close":
                requests.delete(f"{self.exchange.url}/v2/positions/{symbol}", headers=HEADERS, timeout=10)
            case "cancel":
                requests.delete(f"{self.exchange.url}/v2/orders", headers=HEADERS, timeout=10)
            case "money":
                self.exchange.enter(*(("CSD", "1000"), ("CSW", "-500"), ("FEE", "-1.25"), ("INT", "0.75"))[number % 4])
            case "death":
                self.fuse.left = number
            case "restart":
                self.start()

    def end(self) -> None:
        """Everything calms down; the laws are judged by the exchange's own ledger."""
        self.fuse.left = None
        scripted(self.directory, {})
        for _ in range(2):
            self.exchange.step()
            books = self.system.trading.reconcile("nightly")
        assert books.unexplained == ()
        truth, ours = self.exchange.ledger(), self.database.portfolio()
        assert {s: p.quantity for s, p in ours.positions.items()} == {
            s: D(p["quantity"]) for s, p in truth["positions"].items()
        }
        assert ours.cash == D(truth["cash"])
        booked = {record.fill.execution_id for record in self.database.fills(limit=10_000)}
        assert booked == {fill["execution_id"] for fill in truth["fills"]}


STEPS = st.tuples(
    st.sampled_from(
        [
            "cycle",
            "cycle",
            "minutes",
            "minutes",
            "buy",
            "buy",
            "sell",
            "reconcile",
            "close",
            "cancel",
            "money",
            "death",
            "restart",
        ]
    ),
    st.integers(0, 60),
)


@pytest.fixture(scope="module")
def piecemeal() -> Iterator[Exchange]:
    """Many orders fill in pieces."""
    with serve_exchange(partial_probability=D("0.4")) as exchange:
        yield exchange


def test_any_interleaving_reconciles_to_nothing_unexplained(
    piecemeal: Exchange, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    @settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
    @given(st.lists(STEPS, min_size=4, max_size=14))
    def law(steps: list[tuple[str, int]]) -> None:
        directory = tmp_path_factory.mktemp("desk")
        database = own_database(sqlite_template, directory)
        piecemeal.reset()
        piecemeal.move(advance_seconds=600)
        desk = Desk(piecemeal, database, directory)
        desk.system.trading.reconcile()
        for what, number in steps:
            desk.do(what, number)
        desk.end()
        database.close()

    law()


def test_r12_nothing_drifts_over_the_days(piecemeal: Exchange, sqlite_template: Path, tmp_path: Path) -> None:
    piecemeal.reset()
    database = own_database(sqlite_template, tmp_path)
    desk = Desk(piecemeal, database, tmp_path)
    dice = random.Random(SEED)
    for _ in range(DAYS):
        piecemeal.move(advance_seconds=600)
        for _ in range(4):
            desk.do("cycle", dice.randrange(60))
            desk.do(dice.choice(["buy", "sell", "close", "money", "cancel", "minutes"]), dice.randrange(60))
            piecemeal.step(dice.choice([60, 600, 3600]))
        piecemeal.move(next_open=True)
        assert desk.system.trading.reconcile("nightly").unexplained == (), f"SEED={SEED}"
    assert not any(one.unexplained for one in database.reconciliations(10_000)), f"SEED={SEED}"
    desk.end()
    fills = len(database.fills(100_000))
    print(f"R12: {DAYS} days, {fills} executions, 0 unexplained, seed {SEED}")
    database.close()


def test_a20_killed_in_ten_starts_in_a_row_equals_one_clean_start(
    exchange: Exchange, ledger_database: DatabaseService, database: Database, tmp_path: Path
) -> None:
    """What was there before: a holding, a resting order of a person, a fee; during the deaths nothing happens."""
    for number, symbol in enumerate(SOME):
        assert exchange.order(symbol=symbol, qty=str(number + 1), side="buy", type="market", time_in_force="day").ok
    exchange.step()
    assert exchange.order(symbol="AAPL", qty="1", side="buy", type="limit", limit_price="1.00", time_in_force="gtc").ok
    exchange.enter("FEE", "-1.00")
    clean = Desk(exchange, ledger_database, tmp_path)
    clean.system.trading.reconcile()
    steps, expected = clean.fuse.calls, dump(ledger_database)
    wipe(database)
    (tmp_path / "risk_state.json").unlink()
    desk = Desk(exchange, ledger_database, tmp_path)
    dice = random.Random(1)
    for _ in range(DEATHS):
        desk.fuse.left = dice.randrange(steps)
        desk.survive(desk.system.trading.reconcile)
    desk.fuse.left = None
    desk.start()
    desk.system.trading.reconcile()
    assert dump(ledger_database) == expected


def dump(database: DatabaseService) -> list[object]:
    """Everything that a start adopts, by stable names."""
    state, opened, portfolio = database.risk_state(), database.account(), database.portfolio()
    assert state is not None and opened is not None
    orders = sorted(
        (one.client_order_id, one.origin, one.state, one.quantity, one.booked_quantity) for one in database.orders(1000)
    )
    fills = sorted(record.fill.execution_id for record in database.fills(1000))
    entries = [entry.activity_id for entry in database.activities(opened.opened_at.replace(year=2000))]
    return [opened, portfolio, orders, fills, entries, state.trading_state, state.cause]


def own_database(template: Path, directory: Path) -> DatabaseService:
    (directory / "ledger.db").write_bytes(template.read_bytes())
    return DatabaseService(Database(f"sqlite:///{directory / 'ledger.db'}"), WallClock())
