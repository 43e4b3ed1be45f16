"""Tapes written minute by minute, worlds on them, and two ways in: straight into the application, or over HTTP."""

import asyncio
import contextlib
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from urllib.parse import quote, urlencode

import pytest

from app.config import DEFAULT_WATCHLIST
from app.engine.costs import FREE
from app.simulator.accounts.order_request import parse_json, parse_order
from app.simulator.server import Server, SimulatorOptions, build_app, configured
from app.simulator.world import World

OPEN = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
BEFORE = datetime(2023, 12, 29, 20, 59, tzinfo=UTC)
KEYS = {"APCA-API-KEY-ID": "key", "APCA-API-SECRET-KEY": "secret"}
HEAD = "symbol,timestamp,open,high,low,close,volume\n"


def minute_rows(symbol, prices, start=OPEN):
    """CSV lines, one a minute from `start`; a price is a number (flat bar) or (open, high, low, close); None leaves a gap."""
    lines = []
    for i, price in enumerate(prices):
        if price is None:
            continue
        o, h, lo, c = price if isinstance(price, tuple) else (price,) * 4
        lines.append(f"{symbol},{(start + timedelta(minutes=i)).isoformat()},{o},{h},{lo},{c},1000\n")
    return lines


class Bench:
    """A world on a hand-written tape, with short words for what the tests do."""

    def __init__(self, world):
        self.world = world
        self.account = world.first
        self.ledger = world.first.ledger

    def send(self, **fields):
        fields = {"symbol": "ACME", "side": "buy", "type": "market", "time_in_force": "day", **fields}
        order = self.account.submit(parse_order(parse_json(json.dumps(fields).encode())))
        self.world.save()
        return order.id

    def minutes(self, count):
        self.world.move(self.account.now + timedelta(minutes=count))

    def status(self, order_id):
        return self.ledger.orders[order_id].status

    def price(self, order_id):
        price = self.ledger.orders[order_id].filled_average_price
        return None if price is None else float(price)

    def legs(self, order_id):
        return [leg.id for leg in self.ledger.legs(order_id)]


@pytest.fixture
def bench(tmp_path):
    """bench(prices, **options): prices of ACME minute by minute, or a dict of symbol -> (start, prices) pieces."""

    def make(prices, **options):
        pieces = prices if isinstance(prices, dict) else {"ACME": [(OPEN, prices)]}
        lines = [
            line for symbol in pieces for line in minute_rows(symbol, [100], BEFORE)
        ]  # so that each has a price at the start
        lines += [
            line for symbol, parts in pieces.items() for start, part in parts for line in minute_rows(symbol, part, start)
        ]
        path = tmp_path / "tape.csv"
        path.write_text(HEAD + "".join(lines))
        return Bench(
            World(
                SimulatorOptions(
                    data=path, **{"costs": FREE, "cash": Decimal(10_000), "start": OPEN.date(), "multiplier": 1, **options}
                )
            )
        )

    return make


class Local:
    """Requests straight into the application, without a socket."""

    def __init__(self, app):
        self.app = app
        self.world = app.state.world

    def __call__(self, method, path, *, params=None, body=None, headers=KEYS):
        return asyncio.run(self._call(method, path, urlencode(params or {}).encode(), body, headers))

    async def _call(self, method, path, query, body, headers):
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": quote(path).encode(),
            "query_string": query,
            "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
            "http_version": "1.1",
            "scheme": "http",
            "server": ("127.0.0.1", 80),
        }
        sent = []

        async def receive():
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(message):
            sent.append(message)

        await self.app(scope, receive, send)
        content = b"".join(m.get("body", b"") for m in sent)
        return sent[0]["status"], json.loads(content) if content else None


@contextlib.contextmanager
def served(app):
    """An application with its streams on a free port; gives its address."""
    running = Server(configured(app, host="127.0.0.1", port=0))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not running.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def generated():
    """Straight into an exchange on a small generated market."""
    return Local(build_app(SimulatorOptions(symbols=("AAPL", "MSFT", "SPY"), seed=11)))


@pytest.fixture(scope="module")
def server():
    """An exchange on a generated market of the watch list, served over HTTP on a free port; yields its address."""
    with served(build_app(SimulatorOptions(seed=7, symbols=tuple(DEFAULT_WATCHLIST.split())))) as address:
        yield address
