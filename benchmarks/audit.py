"""What the audit log costs a cycle of 32 symbols, and how fast it is verified: `python benchmarks/audit.py [directory]`.

The same writes of the ledger, cycle for cycle in turn with and without the log. Time is that of this thread alone, so that a
busy machine does not blur it; waiting for the disk is the same with and without.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from sqlalchemy import Connection

from app.domain.audit import Kind
from app.services.audit.audit_service import AuditService
from app.services.database_service import DatabaseService
from app.storage import audit
from app.storage.audit import Journal, Noted
from app.storage.database import Database
from tests.databases import HandClock
from tests.storage.made import T0, committed, decision, fill, open_books, order, record, start_cycle, venue_order

CYCLES = 60
EVENTS = 100_000
SYMBOLS = [f"S{number:02d}" for number in range(32)]


class Deaf(Journal):
    """Tells nobody anything."""

    def append(self, connection: Connection, noted: Sequence[Noted]) -> Callable[[], None]:  # noqa: ARG002
        """Nothing."""
        return lambda: None


def cycle(ledger: DatabaseService, number: int, orders: int) -> None:
    """One cycle as the trading service writes it, with some orders sent, answered and filled."""
    at = T0 + timedelta(minutes=10 * number)
    name = f"c{number}"
    start_cycle(ledger, name, at=at, alive=False)
    sizing = {"position": 52.5, "exposure": 800.0, "risk": 41.0, "volatility": 44.0, "cash": 500.0}
    records = tuple(record(symbol, sizing=sizing, sizing_bound="risk") for symbol in SYMBOLS)
    wanted = [order(f"{name}-{i}", symbol=SYMBOLS[i]) for i in range(orders)]
    made = decision(*wanted, records=records, decided_at=at)
    committed(ledger, made, cycle_id=name, expires_at=at + timedelta(minutes=5), inputs={"view": [0.5] * 300})
    for i, one in enumerate(wanted):
        ledger.claim_intent(one.client_order_id, cycle_id=name, now=at)
        ledger.adopt_order(venue_order(one.client_order_id, f"v-{name}-{i}", symbol=one.symbol))
    for i, one in enumerate(wanted):
        ledger.book_fills([fill(f"e-{name}-{i}", f"v-{name}-{i}", symbol=one.symbol, filled_at=at, price=Decimal(1))])
    ledger.finish_cycle(name, outcome="completed", detail="", finished_at=at, timings={}, equity=None)


def measure(directory: Path, orders: int) -> tuple[float, float]:
    """Median milliseconds a cycle, without and with the log."""
    ledgers = []
    for name, kind in (("without", Deaf), ("with", Journal)):
        database = Database(f"sqlite:///{directory / f'{name}-{orders}.db'}")
        clock = HandClock()
        ledger = DatabaseService(database, clock)
        ledger.migrate()
        database.journal = kind(clock=clock, anchor=database.journal.anchor)
        open_books(ledger)
        ledgers.append(ledger)
    times: list[list[float]] = [[], []]
    for number in range(CYCLES):
        for ledger, spent in zip(ledgers, times, strict=True):
            started = time.thread_time()
            cycle(ledger, number, orders)
            spent.append((time.thread_time() - started) * 1000)
    return statistics.median(times[0]), statistics.median(times[1])


def verify(directory: Path) -> tuple[float, float]:
    """Events a second of this thread's own time, and of the clock on the wall."""
    database = Database(f"sqlite:///{directory / 'long.db'}")
    ledger = DatabaseService(database, HandClock())
    ledger.migrate()
    payload = {"changed": {"state": "open", "filled_quantity": Decimal(0), "updated_at": T0, "venue_order_id": "v" * 36}}
    for start in range(0, EVENTS, 2_000):
        names = [f"at-aapl-{number:024d}" for number in range(start, start + 2_000)]
        work = [(Kind.ANSWERED, payload, {"client_order_id": name, "symbol": "AAPL", "cycle_id": "c1"}) for name in names]
        database.write(lambda c, work=work: [audit.record(c, kind, told, **about) for kind, told, about in work])
    best, wall = 0.0, 0.0
    for _ in range(3):
        started = time.thread_time()
        found = AuditService(ledger).verify()
        assert found.broken is None
        best = max(best, found.events / (time.thread_time() - started))
        wall = max(wall, found.events / found.seconds)
    return best, wall


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as place:
        for orders in (0, 2, 7):
            without, together = measure(Path(place), orders)
            print(f"cycle with {orders} orders: {without:.2f} ms without, {together:.2f} ms with the log")
        own, wall = verify(Path(place))
        print(f"verify: {own:,.0f} events a second of its own time, {wall:,.0f} on the wall, of {EVENTS:,}")
