"""The listener to trade updates against the real simulated exchange: gaps, repeats, disorder, silence, and two listeners."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from websockets.sync.server import serve

from app.brokers.alpaca_stream import AlpacaStream
from app.domain.trade_update import Listening, TradeUpdate
from app.runtime.clock import WallClock
from app.runtime.owner import is_alive
from app.services.database_service import DatabaseService
from app.services.trading.reconciliation import Reconciler
from app.services.trading.trade_updates import LEASE, Pace, TradeUpdates
from tests.trading.exchange import SYMBOLS, Exchange, System, build_system, scripted

RISING = dict.fromkeys(SYMBOLS, 0.01)
QUICK = Pace(read=0.02, renew=0.1, wait=0.05, poll=0.3, again=0.1, connect=1.0, silence=30.0, untold=0.5)
NEVER_ASKS = Pace(read=0.02, renew=0.1, wait=0.05, poll=1_000.0, again=0.1, connect=20.0, untold=0.5)


def stream_of(exchange: Exchange) -> AlpacaStream:
    return AlpacaStream(key="k", secret="s", url=exchange.url.replace("http", "ws") + "/stream", paper=True)


def until(reached: Callable[[], Any], what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def fault(exchange: Exchange, **body: object) -> None:
    requests.post(f"{exchange.url}/sim/faults", json=body, timeout=10).raise_for_status()


def listener(system: System, pace: Pace, connect: Callable[[], AlpacaStream] | None = None) -> TradeUpdates:
    return TradeUpdates(
        connect=connect or (lambda: stream_of(system.exchange)),
        venue=system.venue,
        database=system.database,
        reconcile=Reconciler(venue=system.venue, database=system.database).reconcile,
        clock=WallClock(),
        pace=pace,
    )


@contextmanager
def listening(updates: TradeUpdates) -> Iterator[threading.Event]:
    ended = threading.Event()
    thread = threading.Thread(target=updates.run, args=(ended.is_set, ended.wait))
    thread.start()
    try:
        yield ended
    finally:
        ended.set()
        thread.join(20)
        assert not thread.is_alive()


def status(system: System) -> dict[str, Any]:
    lease = system.database.lease(LEASE)
    return dict(lease.status) if lease is not None else {}


def is_listening(system: System) -> bool:
    return bool(status(system).get("listening"))


def is_caught_up(system: System) -> bool:
    return bool(status(system).get("caught_up"))


def venues_fills(exchange: Exchange) -> set[str]:
    return {fill["execution_id"] for fill in exchange.ledger()["fills"]}


def ours(system: System) -> set[str]:
    return {record.fill.execution_id for record in system.database.fills(10_000)}


def open_books(system: System) -> None:
    """Books that are open, and orders at the venue that the next step fills: no decision is needed for that."""
    Reconciler(venue=system.venue, database=system.database).reconcile(system.venue.clock().now)
    for symbol in ("AAPL", "MSFT", "SPY"):
        order = {"symbol": symbol, "qty": "3", "side": "buy", "type": "market", "time_in_force": "day"}
        system.exchange.order(**order).raise_for_status()


@pytest.fixture
def system(exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path) -> Iterator[System]:
    yield build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, RISING))
    requests.delete(f"{exchange.url}/sim/faults", timeout=10)


def test_executions_are_booked_without_a_cycle_as_asking_would_book_them(exchange: Exchange, system: System) -> None:
    system.trading.run_cycle()
    with listening(listener(system, NEVER_ASKS)):
        until(lambda: is_caught_up(system), "it listens and has caught up")
        system.trading.run_cycle(trigger="manual", request_id="second")
        exchange.step()
        until(lambda: venues_fills(exchange) and ours(system) == venues_fills(exchange), "every execution is told")
    opened = system.database.account()
    assert opened is not None
    by_asking = {fill.execution_id: fill for fill in system.venue.fills(opened.opened_at)}
    assert {record.fill.execution_id: record.fill for record in system.database.fills(10_000)} == by_asking
    filled = [order for order in system.database.orders(1000) if order.filled_quantity]
    assert filled
    assert all(order.booked_quantity == order.filled_quantity for order in filled)


def told_during(exchange: Exchange, work: Callable[[], object]) -> list[TradeUpdate]:
    stream = stream_of(exchange)
    stream.open()
    try:
        until(lambda: isinstance(stream.next(0.1), Listening), "it listens")
        work()
        told: list[TradeUpdate] = []
        while (one := stream.next(0.5)) is not None:
            assert isinstance(one, TradeUpdate), one
            told.append(one)
        return told
    finally:
        stream.close()


def test_C03_C04_repeated_disordered_and_early_events_change_nothing(exchange: Exchange, system: System) -> None:
    told = told_during(exchange, lambda: system.cycles(4))
    assert sum(update.fill is not None for update in told) >= 7
    system.trading.run_cycle()
    books, orders = system.database.portfolio(), {order.client_order_id: order for order in system.database.orders(1000)}
    updates = listener(system, QUICK)
    for seed in range(3):
        shuffled = [*told, *told]
        random.Random(seed).shuffle(shuffled)
        for update in shuffled:
            updates.take(update)
    assert system.database.portfolio() == books
    for order in system.database.orders(1000):
        before = orders.pop(order.client_order_id)
        facts = "state", "filled_quantity", "filled_average_price", "booked_quantity", "venue_order_id", "origin", "parent_id"
        assert [getattr(order, name) for name in facts] == [getattr(before, name) for name in facts]
    assert not orders


@pytest.mark.parametrize("seed", range(3))
def test_C04_events_that_come_before_everything_else_end_in_the_venues_books(
    exchange: Exchange, system: System, seed: int
) -> None:
    """All that is told of four cycles, in any order, while the answers to our orders are yet to be read."""
    system.trading.run_cycle()
    updates = listener(system, QUICK)
    told = told_during(exchange, exchange.step)
    random.Random(seed).shuffle(told)
    for update in told:
        updates.take(update)
    system.cycles(3)
    truth = exchange.ledger()
    assert {s: p.quantity for s, p in system.database.portfolio().positions.items()} == {
        symbol: Decimal(held["quantity"]) for symbol, held in truth["positions"].items()
    }
    assert ours(system) == venues_fills(exchange)


def test_B24_what_happened_during_a_gap_is_found_by_asking(exchange: Exchange, system: System) -> None:
    open_books(system)
    with listening(listener(system, NEVER_ASKS)):
        until(lambda: is_caught_up(system), "it listens and has caught up")
        fault(exchange, what="disconnect", stream="trade_updates", key_id="k")
        exchange.step()  # fills the orders while nobody listens: the client waits at least half a second before it returns
        until(lambda: ours(system) == venues_fills(exchange) and ours(system), "the executions inside the gap are booked")
        until(lambda: is_listening(system), "it listens again")


def test_B23_a_connection_that_tells_nothing_is_given_up(exchange: Exchange, system: System) -> None:
    open_books(system)
    made: list[AlpacaStream] = []
    reconnects: list[float] = []

    def connect() -> AlpacaStream:
        stream = stream_of(exchange)
        given_up = stream.reconnect

        def reconnect() -> None:
            reconnects.append(time.monotonic())
            given_up()

        stream.reconnect = reconnect  # type: ignore[method-assign]
        made.append(stream)
        return stream

    with listening(listener(system, QUICK, connect)):
        until(lambda: is_caught_up(system), "it listens and has caught up")
        fault(exchange, what="mute", stream="trade_updates")
        exchange.step()
        until(lambda: ours(system) == venues_fills(exchange) and ours(system), "asking finds what was not told")
        until(lambda: reconnects, "the mute connection is given up")
        requests.delete(f"{exchange.url}/sim/faults", timeout=10)
        until(lambda: is_listening(system), "it listens again")
    assert len(made) == 1, "one client, whose connection was made anew"


def test_B23_a_server_that_accepts_and_then_says_nothing_is_tried_again(exchange: Exchange, system: System) -> None:
    open_books(system)
    connections: list[object] = []
    ended = threading.Event()

    def silent(connection: Any) -> None:
        connections.append(connection)
        for _ in connection:
            if ended.is_set():
                return

    with serve(silent, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/stream"
        updates = listener(system, QUICK, lambda: AlpacaStream(key="k", secret="s", url=url, paper=True))
        with listening(updates):
            exchange.step()
            until(lambda: ours(system) == venues_fills(exchange) and ours(system), "asking replaces the stream")
            until(lambda: len(connections) >= 2, "another connection is made")
            assert not is_listening(system)
        ended.set()
        server.shutdown()


def test_a_second_listener_waits_for_the_first_and_then_takes_over(exchange: Exchange, system: System) -> None:
    open_books(system)
    with listening(listener(system, QUICK)):
        until(lambda: is_listening(system), "the first listens")
        first = system.database.lease(LEASE)
        patience = timedelta(seconds=30)
        assert first is not None
        assert system.database.take_lease(LEASE, owner="elsewhere:1:1", patience=patience, is_alive=is_alive) is None
    assert system.database.take_lease(LEASE, owner="elsewhere:1:1", patience=patience, is_alive=is_alive) == first.fence + 1
    with listening(listener(system, QUICK)):
        time.sleep(0.3)
        held = system.database.lease(LEASE)
        assert held is not None
        assert held.owner == "elsewhere:1:1"
        system.database.release_lease(LEASE, fence=first.fence + 1)
        until(lambda: is_listening(system), "it listens once the other has gone")


def test_D09_a_listener_that_overslept_its_lease_stops(exchange: Exchange, system: System) -> None:
    open_books(system)
    with listening(listener(system, QUICK)):
        until(lambda: is_listening(system), "it listens")
        late = system.database.take_lease(LEASE, owner="elsewhere:1:1", patience=timedelta(0), is_alive=lambda _: True)
        assert late is not None
        until(lambda: not is_listening(system), "the late one writes nothing any more")
        time.sleep(0.3)
        held = system.database.lease(LEASE)
        assert held is not None
        assert (held.owner, held.fence) == ("elsewhere:1:1", late)
