"""Seeded runs of the real order path, on a real database, against a venue that answers badly, killed between any two steps.

What is real: storage, executor, reconciler. What is played: the venue (with its own ledger, which judges), whoever decides, and
death: an exception that no product code catches, after which a new process finds the database and the venue as they are.

    SEED=n pytest tests/orders/test_simulation.py        one run again
    SEEDS=n make test-orders                             n runs
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import event

from app.domain.errors import AlphaTraderError
from app.domain.order import Order, OrderType, Purpose, Side, TimeInForce, ValidatedOrder, exit_client_order_id
from app.domain.order_state import OrderState
from app.domain.records import ClaimOutcome, CycleState, IntentOrigin
from app.domain.trading_state import RiskState, TradingState
from app.engine.decision import Decision
from app.risk.limits import RiskLimits
from app.risk.reservations import Capacity
from app.services.alpaca_service import AlpacaService
from app.services.database_service import DatabaseService
from app.services.trading.execution import Executor
from app.services.trading.reconciliation import Reconciler
from app.storage.database import Database
from app.storage.migrations import migrate
from app.storage.reservations import reserved
from tests.databases import HandClock
from tests.orders.venue import Broken, Venue

START = datetime(2024, 3, 1, 15, 0, tzinfo=UTC)
CASH = Decimal(100_000)
SYMBOLS = ("AAPL", "KO", "MSFT", "PEP", "SPY", "XOM")
LIMITS = RiskLimits(max_positions=3, max_exposure_fraction=0.25, risk_per_trade_fraction=0.005)
BUSY_SECONDS = 0.005


class Killed(BaseException):
    """The process is gone. Nothing in the product catches it."""


class Tap:
    """Stands before an object and tells when each of its methods is called and has returned."""

    def __init__(self, behind: Any, told: Callable[[str], None]) -> None:
        self._behind = behind
        self._told = told

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._behind, name)
        if not callable(found):
            return found

        def call(*args: Any, **options: Any) -> Any:
            self._told(f"before {name}")
            answer = found(*args, **options)
            self._told(f"after {name}")
            return answer

        return call


class Bench:
    """A database that every run finds empty. One engine for all of them: compiling its statements anew would take most of the
    time. Connections do not outlive a process of the product."""

    def __init__(self, directory: Path) -> None:
        self.file, self._template = directory / "ledger.db", directory / "template.db"
        template = Database(f"sqlite:///{self._template}")
        migrate(template)
        template.close()
        self.storage = Database(f"sqlite:///{self.file}", busy_timeout_seconds=BUSY_SECONDS)
        self.told: Callable[[], None] = lambda: None
        event.listen(self.storage.engine, "before_cursor_execute", lambda *_: self.told())

    def clear(self) -> None:
        """An empty database."""
        self.storage.close()
        for path in self.file.parent.glob(f"{self.file.name}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copyfile(self._template, self.file)


class Process:
    """One life of the product: its own connections and services."""

    def __init__(self, world: World) -> None:
        self.storage = world.bench.storage
        self.storage.close()
        self.untapped = DatabaseService(self.storage, world.wall)
        self.ledger: Any = Tap(self.untapped, world.at_call)
        self.service: Any = AlpacaService(
            broker=Tap(world.venue, world.at_venue), data=None, database=self.ledger, clock=world.wall, symbols=SYMBOLS,
            mode="simulated", url="",
        )  # fmt: skip
        self.executor = Executor(
            venue=self.service, database=self.ledger, gate=lambda: None, sleep=world.venue.pass_time, monotonic=world.seconds
        )
        self.reconciler = Reconciler(venue=self.service, database=self.ledger)


class World:
    """One seeded run."""

    def __init__(self, seed: int, bench: Bench) -> None:
        self.dice = random.Random(seed)
        self.bench = bench
        bench.clear()
        bench.told = self.at_statement
        self.wall = HandClock(START)
        prices = {symbol: Decimal(self.dice.randint(20, 400)) for symbol in SYMBOLS}
        self.venue = Venue(self.dice, START, CASH, prices, LIMITS)
        self.venue.lock = self.lock
        self.venue.may_be_posted = self.is_claimed
        self.cycles = 0
        self.kills = 0
        self.fuse: tuple[str, int] | None = None
        self.playing = 0
        self.calm = False
        self.locked: sqlite3.Connection | None = None
        self.process = Process(self)

    def seconds(self) -> float:
        return self.venue.now.timestamp()

    def is_claimed(self, order: Order) -> bool:
        """Whether the ledger knows the order as being sent, by a cycle that still runs if it is one's."""
        ledger = self.process.untapped
        intent = ledger.intent(order.client_order_id)
        running = intent.cycle_id is None or ledger.cycle(intent.cycle_id).state is CycleState.RUNNING
        return intent.state is OrderState.SENT and running

    # --- what goes wrong between two steps

    def at_statement(self) -> None:
        self._burn("statement")

    def at_venue(self, point: str) -> None:
        self._burn("venue")
        self.venue.pass_time(0.1)

    def at_call(self, point: str) -> None:
        self._burn("call")
        if self.calm or self.playing:
            return
        chance = self.dice.random() / (5 if point == "after claim_intent" else 1)
        if chance < 0.03:
            self.venue.trade(0.3)
        elif chance < 0.05:
            self._played(self._stream)
        elif chance < 0.07:
            self._played(self._someone_else)
        elif chance < 0.08 and point != "after holds_claim":
            # Held up between the last look and the wire, an order cannot be called back; the next cycle cancels it.
            self._played(self._next_cycle_elsewhere)

    def _burn(self, kind: str) -> None:
        if self.fuse is None or self.fuse[0] != kind:
            return
        self.fuse = (kind, self.fuse[1] - 1)
        if self.fuse[1] <= 0:
            self.fuse = None
            raise Killed

    def _played(self, scene: Callable[[], None]) -> None:
        """Another process does something while ours stands still here."""
        self.playing += 1
        try:
            scene()
        except AlphaTraderError:
            pass  # it says so and gives up; the laws are judged at the venue
        finally:
            self.playing -= 1

    def lock(self) -> None:
        """Someone holds the database while an answer arrives."""
        if self.locked is None:
            self.locked = sqlite3.connect(self.bench.file, isolation_level=None, timeout=0)
            try:
                self.locked.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                self._unlock()

    def _unlock(self) -> None:
        if self.locked is not None:
            self.locked.close()
            self.locked = None

    # --- the scenes

    def run(self, rounds: int = 4) -> None:
        try:
            self._round()
            for _ in range(rounds):
                self.venue.pass_time(self.dice.choice([15, 70, 600]))
                self._move_prices()
                self.venue.trade()
                if self.dice.random() < 0.6:
                    kind, most = self.dice.choice([("statement", 250), ("venue", 40), ("call", 60)])
                    self.fuse = (kind, self.dice.randint(1, most))
                self._round()
            self._settle()
            self._judge()
        finally:
            self._unlock()

    def _round(self) -> None:
        try:
            self._cycle(self.process)
        except AlphaTraderError:
            pass
        except Killed:
            self.kills += 1
            self.process = Process(self)
        self.fuse = None
        self._unlock()

    def _cycle(self, process: Process) -> None:
        cycle_id = self._claimed(process)
        if cycle_id is None:
            return
        ledger = process.ledger
        books = process.reconciler.reconcile(self.venue.now)
        state = ledger.risk_state()
        if state is None:
            state = _state(TradingState.ACTIVE, 0, self.venue.now)
            ledger.save_risk_state(state)
        decision = self._decide(process, cycle_id, state, agree=not books.differences)
        expires_at = self.venue.now + timedelta(seconds=600)
        ledger.record_decision(cycle_id, decision, inputs={}, capacity=self._capacity(), orders_expire_at=expires_at)
        process.executor.execute(decision, cycle_id=cycle_id, now=self.venue.now)
        ledger.finish_cycle(cycle_id, outcome="completed", detail="", finished_at=self.wall.now(), timings={}, equity=None)

    def _claimed(self, process: Process) -> str | None:
        self.cycles += 1
        cycle_id = f"c{self.cycles}"
        outcome = process.ledger.claim_cycle(
            cycle_id, slot=self.venue.now, started_at=self.wall.now(), owner="w", trigger="t", is_alive=lambda _: False
        )
        return cycle_id if outcome is ClaimOutcome.CLAIMED else None

    def _decide(self, process: Process, cycle_id: str, state: RiskState, *, agree: bool) -> Decision:
        """Bold and short-sighted: it looks at holdings alone, so that whatever keeps the limits is further down."""
        cancels: list[str] = []
        orders: list[ValidatedOrder] = []
        held = process.ledger.portfolio().positions if agree else {}
        for symbol, position in held.items():
            if self.dice.random() < 0.3:
                orders.append(self._exit(f"{cycle_id}-{symbol}-x", symbol, position.quantity))
                cancels += self._legs_of(process, symbol) if self.dice.random() < 0.8 else []
        for symbol in self.dice.sample(SYMBOLS, self.dice.choice([0, 1, 2, 4])):
            orders.append(self.entry(f"{cycle_id}-{symbol}-e", symbol))
        stale = [
            one.client_order_id
            for one in process.ledger.unsettled_intents()
            if one.purpose is Purpose.ENTRY and self.dice.random() < 0.4
        ]
        return Decision(decided_at=self.venue.now, cancels=tuple(cancels + stale), orders=tuple(orders), records=(), risk=state)

    def _legs_of(self, process: Process, symbol: str) -> list[str]:
        unsettled = process.ledger.unsettled_intents()
        return [one.client_order_id for one in unsettled if one.origin is IntentOrigin.LEG and one.symbol == symbol]

    def _someone_else(self) -> None:
        """A person or an exit monitor orders at the same time, beside the cycle."""
        process = self.process
        ledger, held = process.ledger, process.ledger.portfolio().positions
        symbol = self.dice.choice(sorted(held) or SYMBOLS)
        now, cancels = self.venue.now, []
        if symbol in held and self.dice.random() < 0.7:
            name = exit_client_order_id(
                account="a", symbol=symbol, position_id=str(held[symbol].opened_at), reason="stop", attempt=self.cycles
            )
            order = self._exit(name, symbol, held[symbol].quantity)
            cancels = self._legs_of(process, symbol)
        else:
            order = self.entry(f"by-hand-{self.dice.random()}", symbol)
        until = now + timedelta(seconds=60)
        for _ in range(self.dice.choice([1, 2])):  # the request may come twice
            ledger.commit_orders(
                [order], source="manual", capacity=self._capacity(), expires_at=until, at=now, releasing=cancels
            )
            process.executor.send([order], cancels=cancels, cycle_id=None, now=now)

    def _next_cycle_elsewhere(self) -> None:
        """Our process is held up for so long that another one takes over, and gives up what it cannot explain."""
        process = Process(self)
        for _ in range(self.dice.choice([1, 2])):
            self.venue.pass_time(900)
            self.wall.forward(900)
            self._cycle(process)

    def _stream(self) -> None:
        """Executions and old reports, as a stream that reconnects would tell them."""
        ledger = self.process.ledger
        if ledger.account() is None:
            return
        told = [fill for _, fill in self.venue.executions]
        ledger.book_fills(self.dice.sample(told, min(len(told), 3)))
        ours = {one.client_order_id for one in ledger.unsettled_intents()}
        known = [one for one in self.venue.reports if one.client_order_id in ours]
        for report in self.dice.sample(known, min(len(known), 2)):
            ledger.adopt_order(report)

    def entry(self, name: str, symbol: str) -> ValidatedOrder:
        price = self.venue.prices[symbol]
        limit = (price * Decimal("1.005")).quantize(Decimal("0.01"))
        stop = (price * Decimal("0.95")).quantize(Decimal("0.01"))
        wanted = self.venue.equity() * Decimal(self.dice.randint(2, 11)) / 100
        return ValidatedOrder(
            Order(
                client_order_id=name, symbol=symbol, side=Side.BUY, quantity=Decimal(max(1, int(wanted / limit))),
                purpose=Purpose.ENTRY, reason="buy_signal", type=OrderType.LIMIT, time_in_force=TimeInForce.GTC,
                limit_price=limit, take_profit_price=price * 2, stop_loss_price=stop,
            )
        )  # fmt: skip

    def _exit(self, name: str, symbol: str, quantity: Decimal) -> ValidatedOrder:
        return ValidatedOrder(
            Order(
                client_order_id=name, symbol=symbol, side=Side.SELL, quantity=quantity, purpose=Purpose.EXIT, reason="stop_loss"
            )
        )

    def _capacity(self) -> Capacity:
        account = self.venue.account()
        return Capacity(equity=account.equity, buying_power=account.buying_power, prices=dict(self.venue.prices), limits=LIMITS)

    def _move_prices(self) -> None:
        for symbol, price in self.venue.prices.items():
            factor = Decimal(self.dice.randint(960, 1040)) / 1000
            self.venue.prices[symbol] = max(Decimal(1), (price * factor).quantize(Decimal("0.01")))

    # --- the end, and the laws

    def _settle(self) -> None:
        """Everything at the venue comes to its end and nothing goes wrong any more."""
        self.calm = True
        self.venue.finish()
        for _ in range(4):
            self.venue.pass_time(120)
            cycle_id = self._claimed(self.process)
            if cycle_id is None:
                raise Broken("no cycle can run any more")
            for _ in range(20):  # a look-up of the venue may fail now and then
                try:
                    self.books = self.process.reconciler.reconcile(self.venue.now)
                except AlphaTraderError:
                    continue
                break
            self.process.ledger.finish_cycle(
                cycle_id, outcome="completed", detail="", finished_at=self.wall.now(), timings={}, equity=None
            )

    def _judge(self) -> None:
        ledger, venue = self.process.ledger, self.venue
        if self.books.differences:
            raise Broken(f"the books differ: {self.books.differences}")
        booked = sorted(record.fill.execution_id for record in ledger.fills(limit=10_000))
        executed = sorted(fill.execution_id for _, fill in venue.executions)
        if booked != executed:
            raise Broken(f"executed {executed}, booked {booked}")
        portfolio = ledger.portfolio()
        if {symbol: one.quantity for symbol, one in portfolio.positions.items()} != venue.held or portfolio.cash != venue.cash:
            raise Broken(f"{portfolio} is not what the venue holds: {venue.held}, {venue.cash}")
        intents = {one.client_order_id: one for one in ledger.orders(limit=10_000)}
        for one in venue.book.values():
            ours = intents.get(one.order.client_order_id)
            if ours is None and one.parent and not one.order.filled_quantity:
                continue  # a leg that came and went unseen and did nothing
            if ours is None or (str(ours.state), ours.filled_quantity) != (one.order.status, one.order.filled_quantity):
                raise Broken(f"{one.order} stands with us as {ours}")
        if unknown := [one for one in intents.values() if not one.is_settled]:
            raise Broken(f"never explained: {unknown}")
        if left := self.process.storage.read(reserved):
            raise Broken(f"still reserved: {left}")
        if early := [one.message for one in ledger.outbox_pending(10_000) if "counted as" in one.message]:
            raise Broken(f"given up too early: {early}")
        sent = {name for name, one in intents.items() if one.attempt}
        if not set(venue.posts) <= sent or any(count > 1 for count in venue.posts.values()):
            raise Broken(f"posted {venue.posts}, claimed {sent}")


def _state(state: TradingState, epoch: int, now: datetime) -> RiskState:
    return RiskState(
        trading_state=state, cause="started", actor="system", since=now, baseline_equity=CASH, baseline_session="2024-03-01",
        high_water_equity=CASH, epoch=epoch,
    )  # fmt: skip


def run_seed(seed: int, bench: Bench) -> World:
    """Raises Broken, whatever went wrong, with the seed that does it again."""
    world = World(seed, bench)
    try:
        world.run()
    except Exception as fault:
        raise Broken(f"SEED={seed} breaks a law: {type(fault).__name__}: {fault}") from fault
    return world
