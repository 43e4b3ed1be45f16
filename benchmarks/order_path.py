"""R13, the cost of safety: from a finished decision to the POST of its order at the venue, on SQLite with full durability.

What lies between: the commit within the limits, the claim, the last look at the claim, and the client's way to the wire. The
venue is a server on this machine; the clock stops when the request has arrived there.

    python benchmarks/order_path.py [orders] [directory]        the directory decides which disk is measured
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
import tempfile
import threading
import time
from datetime import timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import structlog

sys.path.insert(0, str(Path(__file__).parents[1]))

from app.brokers.alpaca import AlpacaBroker
from app.brokers.alpaca_wire import AlpacaWire
from app.brokers.rate_limit import TokenBucket
from app.domain.order import Order, OrderType, Purpose, Side, TimeInForce, ValidatedOrder, VenueOrder
from app.domain.trading_state import RiskState, TradingState
from app.risk.limits import RiskLimits
from app.risk.reservations import Capacity
from app.runtime.clock import WallClock
from app.services.alpaca_service import AlpacaService
from app.services.database_service import DatabaseService
from app.services.trading.execution import Executor
from app.storage.database import Database

MONEY = Decimal(10**9)
WIDE = RiskLimits(max_positions=10**6, max_exposure_fraction=1.0, max_position_fraction=1.0, risk_per_trade_fraction=1.0)


class Handler(BaseHTTPRequestHandler):
    """Takes orders and notes when."""

    protocol_version = "HTTP/1.1"
    arrived: list[float] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.arrived.append(time.perf_counter())
        asked = json.loads(body)
        answer = json.dumps(
            {
                "id": f"v-{asked['client_order_id']}", "client_order_id": asked["client_order_id"], "symbol": asked["symbol"],
                "side": asked["side"], "type": "limit", "qty": str(asked["qty"]), "filled_qty": "0", "filled_avg_price": None,
                "limit_price": str(asked["limit_price"]), "status": "new", "submitted_at": "2024-03-01T15:00:00Z",
            }
        ).encode()  # fmt: skip
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def main() -> None:
    """Prints median, p99 and worst."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as directory:
        clock = WallClock()
        database = DatabaseService(Database(f"sqlite:///{directory}/ledger.db"), clock)
        database.migrate()
        seconds = measure(database, clock, f"http://127.0.0.1:{server.server_address[1]}", count)
        database.close()
    server.shutdown()
    steps = sorted(1000 * one for one in seconds)
    print(
        f"decision to POST, {count} orders: median {statistics.median(steps):.1f} ms, "
        f"p99 {steps[int(0.99 * (count - 1))]:.1f} ms, worst {steps[-1]:.1f} ms"
    )


def measure(database: DatabaseService, clock: WallClock, url: str, count: int) -> list[float]:
    """Seconds from each decision to the arrival of its order."""
    wire = AlpacaWire(TokenBucket(1_000_000))
    broker = AlpacaBroker(key="k", secret="s", url=url, paper=True, timeout_seconds=5, wire=wire)
    data: Any = None
    venue = AlpacaService(broker=broker, data=data, database=database, clock=clock, symbols=(), mode="simulated", url=url)
    venue.books_compared()
    executor = Executor(venue=venue, database=database, gate=lambda: None)
    now = clock.now()
    database.open_account("a", MONEY, now)
    database.save_risk_state(
        RiskState(
            trading_state=TradingState.ACTIVE, cause="started", actor="system", since=now, baseline_equity=MONEY,
            baseline_session="2024-03-01", high_water_equity=MONEY,
        )
    )  # fmt: skip
    capacity = Capacity(equity=MONEY, buying_power=MONEY, prices={}, limits=WIDE)
    seconds = []
    for number in range(count + 10):
        order = entry(f"n{number}", f"S{number % 7}-{number // 7}")
        now = clock.now()
        decided = time.perf_counter()
        database.commit_orders([order], source="benchmark", capacity=capacity, expires_at=now + timedelta(minutes=5), at=now)
        executor.send([order], cycle_id=None, now=now)
        seconds.append(Handler.arrived[-1] - decided)
        # As in a day of trading: a handful of orders is open at any time, not all that ever were.
        finish(database, f"n{number}", order.order)
    return seconds[10:]


def entry(name: str, symbol: str) -> ValidatedOrder:
    """An entry with its protective prices."""
    return ValidatedOrder(
        Order(
            client_order_id=name, symbol=symbol, side=Side.BUY, quantity=Decimal(1), purpose=Purpose.ENTRY, reason="buy_signal",
            type=OrderType.LIMIT, time_in_force=TimeInForce.GTC, limit_price=Decimal(100), take_profit_price=Decimal(110),
            stop_loss_price=Decimal(95),
        )
    )  # fmt: skip


def finish(database: DatabaseService, name: str, order: Order) -> None:
    """The venue reports the order cancelled."""
    intent = database.intent(name)
    database.adopt_order(
        VenueOrder(
            venue_order_id=intent.venue_order_id or "", client_order_id=name, symbol=order.symbol, side=order.side,
            type=order.type, quantity=order.quantity, filled_quantity=Decimal(0), filled_average_price=None, status="canceled",
            submitted_at=intent.created_at,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
