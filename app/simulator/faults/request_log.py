"""Everything the exchange ever received: requests that change something for ever, reads counted and the newest kept.

A changing request is written to the state file before it is handled, and finished there before its answer leaves. One that
is not finished was under way when the exchange was killed: whether it took effect is in the orders, not here.
Instants `received_at` and `answered_at` are wall time; `clock` is the simulated time of arrival.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, deque
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain

from app.simulator import wire
from app.simulator.faults.arrivals import Arrival

MOST_READS = 10_000
_BODY_LIMIT = 4096
_FIELDS = (
    "number", "clock", "received_at", "method", "path", "query", "body", "key_id", "client_order_id",
    "disturbed", "accepted", "status", "answered_at",
)  # fmt: skip
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS received (number INTEGER PRIMARY KEY, {", ".join(_FIELDS[1:])});
CREATE INDEX IF NOT EXISTS received_client_order_id ON received (client_order_id) WHERE client_order_id != '';
"""
_INSERT = f"INSERT INTO received ({', '.join(_FIELDS)}) VALUES ({', '.join('?' * len(_FIELDS))})"  # noqa: S608 - constants
_FINISH = "UPDATE received SET disturbed = ?, accepted = ?, status = ?, answered_at = ? WHERE number = ?"


class Receipt:
    """One request in the log. disturbed: what faults and barriers did to it.

    accepted: whether the exchange let it take effect, None until that is known. status: what was answered, None for nothing.
    """

    __slots__ = _FIELDS

    def __init__(self, number: int, clock: datetime, arrival: Arrival) -> None:
        self.number = number
        self.clock = wire.instant(clock)
        self.received_at = _wall()
        self.method = arrival.method
        self.path = arrival.path
        self.query = arrival.query
        self.body = arrival.body[:_BODY_LIMIT].decode(errors="replace")
        self.key_id = arrival.key_id
        named = arrival.client_order_id if self.changes or arrival.path.endswith(":by_client_order_id") else ""
        self.client_order_id = named.encode(errors="replace").decode()
        self.disturbed: list[str] = []
        self.accepted: bool | None = None
        self.status: int | None = None
        self.answered_at: str | None = None

    @property
    def changes(self) -> bool:
        """Whether the request asks for a change."""
        return self.method not in {"GET", "HEAD", "OPTIONS"}

    def row(self) -> tuple[object, ...]:
        """Its fields as stored."""
        return tuple(getattr(self, name) if name != "disturbed" else "\n".join(self.disturbed) for name in _FIELDS)


class RequestLog:
    """The log of one world. db: the state file's connection, None keeps the log in memory."""

    def __init__(self, db: sqlite3.Connection | None) -> None:
        self._db = db or sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._db.executescript(_SCHEMA)
        self.reads: Counter[str] = Counter()
        self._recent: deque[Receipt] = deque(maxlen=MOST_READS)
        self._last: int = self._db.execute("SELECT coalesce(max(number), 0) FROM received").fetchone()[0]

    def receive(self, arrival: Arrival, clock: datetime) -> Receipt:
        """Note a request before anything is done with it."""
        self._last += 1
        receipt = Receipt(self._last, clock, arrival)
        if receipt.changes:
            self._db.execute(_INSERT, receipt.row())
        else:
            self._recent.append(receipt)
        return receipt

    def finish(self, receipt: Receipt, status: int | None) -> None:
        """Note how a request ended. status: of the answer that is about to leave, None when none will."""
        receipt.status, receipt.answered_at = status, None if status is None else _wall()
        if receipt.changes:
            disturbed = "\n".join(receipt.disturbed)
            self._db.execute(_FINISH, (disturbed, receipt.accepted, status, receipt.answered_at, receipt.number))

    def count_read(self, route: str) -> None:
        """Count a read of a route, given as its template."""
        self.reads[route] += 1

    def changing(self, *, key_id: str | None = None) -> list[wire.Json]:
        """Every changing request, oldest first, of one key or of all."""
        where, values = ("WHERE key_id = ?", (key_id,)) if key_id is not None else ("", ())
        return [_shown(row) for row in self._db.execute(f"SELECT * FROM received {where} ORDER BY number", values)]  # noqa: S608

    def page(self, wanted: dict[str, str], *, after: int, limit: int, reads: bool) -> list[wire.Json]:
        """Up to `limit` requests with a number above `after`, oldest first, whose fields equal `wanted`."""
        where = " AND ".join(("number > ?", *(f"{name} = ?" for name in wanted)))
        query = f"SELECT * FROM received WHERE {where} ORDER BY number LIMIT ?"  # noqa: S608 - field names are the caller's constants
        found = [_shown(row) for row in self._db.execute(query, (after, *wanted.values(), limit))]
        if reads:
            found = sorted(chain(found, self._matching_reads(wanted, after)), key=lambda r: r["number"])
        return found[:limit]

    def clear(self) -> None:
        """Forget everything."""
        self._db.execute("DELETE FROM received")
        self.reads.clear()
        self._recent.clear()
        self._last = 0

    def _matching_reads(self, wanted: dict[str, str], after: int) -> Iterator[wire.Json]:
        for receipt in list(self._recent):
            if receipt.number > after and all(getattr(receipt, name) == value for name, value in wanted.items()):
                yield _shown(receipt.row())


def _wall() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _shown(row: tuple[object, ...]) -> wire.Json:
    shown = dict(zip(_FIELDS, row, strict=True))
    shown["disturbed"] = str(shown["disturbed"]).split("\n") if shown["disturbed"] else []
    shown["accepted"] = None if shown["accepted"] is None else bool(shown["accepted"])
    return shown
