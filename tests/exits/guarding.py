"""A real simulated exchange on a tape written minute by minute, the trading services, and an exit monitor beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests

from app.domain.order import Order, OrderType, Purpose, Side, TimeInForce, ValidatedOrder
from app.engine.costs import FREE
from app.risk.limits import RiskLimits
from app.risk.reservations import Capacity
from app.runtime.calendar import session_day
from app.services.database_service import DatabaseService
from app.services.guard.exit_monitor import ExitMonitor, Look
from app.services.guard.exit_orders import ExitOrders
from app.services.trading.execution import Execution, Executor
from app.services.trading.reconciliation import Reconciler
from app.simulator.options import SimulatorOptions
from app.simulator.server import build_app
from tests.simulator.conftest import BEFORE, HEAD, OPEN, minute_rows, served
from tests.trading.exchange import Exchange, System, build_system, scripted

LIMITS = RiskLimits()  # stop -5 %, target +10 %
CAPACITY = Capacity(
    equity=Decimal(10_000_000),
    buying_power=Decimal(10_000_000),
    prices={},
    limits=RiskLimits(risk_per_trade_fraction=1.0, max_positions=100),
)


@dataclass
class Hand:
    """Monotonic seconds, moved by hand."""

    at: float = 1000.0

    def __call__(self) -> float:
        return self.at


@dataclass
class Scene:
    """What one test plays with."""

    exchange: Exchange
    system: System
    executor: Executor
    monitor: ExitMonitor
    hand: Hand

    @property
    def database(self) -> DatabaseService:
        return self.system.database

    def look(self, seconds: float = 5.0) -> Look:
        self.hand.at += seconds
        return self.monitor.look()

    def minutes(self, count: float = 1) -> None:
        self.exchange.move(advance_seconds=int(60 * count))

    def fault(self, **body: Any) -> int:
        answer = requests.post(f"{self.exchange.url}/sim/faults", json=body, timeout=10)
        answer.raise_for_status()
        return int(answer.json()["id"])

    def mend(self, number: int) -> None:
        requests.delete(f"{self.exchange.url}/sim/faults/{number}", timeout=10).raise_for_status()

    def open_books(self) -> None:
        """As the first cycle does; a person's holdings are adopted, and trading is resumed by a person."""
        self.begin()
        self.system.risk.resume("operator", "looked at it")

    def begin(self) -> None:
        """The books as the first cycle finds them, without the seconds that the compiled rules cost."""
        now = self.system.venue.clock().now
        books = Reconciler(venue=self.system.venue, database=self.database).reconcile(now)
        self.system.risk.current(books.account, session_day(now).isoformat(), now, adopted=books.had_past)

    def send(self, order: Order, *, cancels: Sequence[str] = ()) -> Execution:
        """An order of ours, committed and sent like every other."""
        now = self.system.venue.clock().now
        committed = self.database.commit_orders(
            [ValidatedOrder(order)],
            source="test",
            capacity=CAPACITY,
            expires_at=now + timedelta(minutes=10),
            at=now,
            releasing=cancels,
        )
        assert not committed.refusals, committed.refusals
        return self.executor.send([ValidatedOrder(order)], cancels=cancels, cycle_id=None, now=now)

    def buy(self, quantity: int, name: str = "at-entry", symbol: str = "ACME", limit: str = "101") -> None:
        """A bracket at 95 and 110."""
        sent = self.send(
            Order(
                client_order_id=name,
                symbol=symbol,
                side=Side.BUY,
                quantity=Decimal(quantity),
                purpose=Purpose.ENTRY,
                reason="buy_signal",
                type=OrderType.LIMIT,
                time_in_force=TimeInForce.GTC,
                limit_price=Decimal(limit),
                take_profit_price=Decimal(110),
                stop_loss_price=Decimal(95),
            )
        )
        assert sent.sent == 1, sent

    def by_hand(self, quantity: str, side: str = "buy", **more: object) -> str:
        """A person's own order at the venue, a market order unless told otherwise; its venue id."""
        body = {"symbol": "ACME", "side": side, "qty": quantity, "type": "market", "time_in_force": "day", **more}
        answer = self.exchange.order(**body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def orders(self, *, side: str = "sell", open_only: bool = False) -> list[dict[str, Any]]:
        """The exchange's own orders, oldest first."""
        live = {"new", "held", "accepted", "partially_filled", "pending_cancel"}
        rows = [one for one in self.exchange.ledger()["orders"] if one["side"] == side]
        return [one for one in rows if not open_only or one["status"] in live]

    def held(self, symbol: str = "ACME") -> Decimal:
        """By the exchange's own executions; never below nought at any time."""
        left: dict[str, Decimal] = {}
        for fill in self.exchange.ledger()["fills"]:
            sign = 1 if fill["side"] == "buy" else -1
            left[fill["symbol"]] = left.get(fill["symbol"], Decimal(0)) + sign * Decimal(fill["quantity"])
            assert left[fill["symbol"]] >= 0, f"sold more {fill['symbol']} than held"
        return left.get(symbol, Decimal(0))

    def alerts(self) -> list[str]:
        return [one.message for one in self.database.outbox_pending(500) if one.kind == "protection"]


@contextmanager
def stage(
    directory: Path,
    database: DatabaseService,
    prices: Any,
    *,
    may_act: Callable[[], bool] = lambda: True,
    wrap: Any = None,
    limits: RiskLimits = LIMITS,
    **options: Any,
) -> Iterator[Scene]:
    """prices: of ACME minute by minute from the opening, or by symbol. wrap: between the services and the broker."""
    by_symbol = prices if isinstance(prices, dict) else {"ACME": prices}
    lines = [line for symbol in by_symbol for line in minute_rows(symbol, [100], BEFORE)]
    lines += [line for symbol, row in by_symbol.items() for line in minute_rows(symbol, row)]
    tape = directory / "tape.csv"
    tape.write_text(HEAD + "".join(lines))
    chosen = {"costs": FREE, "cash": Decimal(100_000), "start": OPEN.date(), "multiplier": 1, "data": tape, **options}
    with served(build_app(SimulatorOptions(**chosen))) as url:
        exchange = Exchange(url)
        system = build_system(
            exchange,
            database,
            directory,
            forecaster=scripted(directory, {}),
            symbols=tuple(by_symbol),
            limits=limits,
            wrap=wrap,
        )
        yield join(exchange, system, limits=limits, may_act=may_act)


def join(
    exchange: Exchange,
    system: System,
    *,
    limits: RiskLimits = LIMITS,
    may_act: Callable[[], bool] = lambda: True,
    cycles_live: bool = True,
) -> Scene:
    """Another monitor on the same exchange and database. cycles_live: whether the process behind a running cycle does."""
    hand = Hand()
    executor = Executor(venue=system.venue, database=system.database, gate=lambda: None, sleep=lambda _: None)
    orders = ExitOrders(venue=system.venue, database=system.database, executor=executor, limits=limits, may_act=may_act)
    monitor = ExitMonitor(
        venue=system.venue, database=system.database, orders=orders, limits=limits, alive=lambda _: cycles_live, monotonic=hand
    )
    return Scene(exchange=exchange, system=system, executor=executor, monitor=monitor, hand=hand)
