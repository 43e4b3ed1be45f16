"""The exchange's memory on disk: accounts with their orders, executions, activities and closes, and the clock, written through
with every change.

SQLite in WAL mode: a killed process loses nothing that was answered. Cash and positions are not stored: they are the fold
of the executions and activities. The file belongs to one exchange at a time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from app.domain.errors import ConfigurationError
from app.domain.order import Fill
from app.simulator.accounts.ledger import Changes, Entry, Ledger, SimOrder
from app.simulator.rows import from_row, to_row

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS accounts (account INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS orders (account INTEGER, sequence INTEGER, body TEXT NOT NULL, PRIMARY KEY (account, sequence));
CREATE TABLE IF NOT EXISTS fills (number INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entries (number INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS closes (account INTEGER, day TEXT, equity TEXT NOT NULL, PRIMARY KEY (account, day));
"""
_OF_ACCOUNTS = ("accounts", "orders", "fills", "entries", "closes")
_T = TypeVar("_T", SimOrder, Fill, Entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedAccount:
    """An account as it was kept. facts: whose it is, its money to begin with, its settings."""

    facts: Mapping[str, Any]
    orders: list[SimOrder]
    fills: list[Fill]
    entries: list[Entry]
    closes: list[tuple[date, Decimal]]

    def restore(self, ledger: Ledger) -> None:
        """Put everything into an empty ledger; it counts as changed."""
        for order in self.orders:
            ledger.put(order)
        ledger.restore(self.fills, self.entries)
        ledger.closes.extend(self.closes)


class Store:
    """One state file. path None keeps nothing. Accounts are known by number, in the order in which they were opened."""

    def __init__(self, path: Path | None) -> None:
        self.db: sqlite3.Connection | None = None
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.db = sqlite3.connect(path, isolation_level=None, timeout=1, check_same_thread=False)
            self.db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute("PRAGMA synchronous=NORMAL")
            self.db.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as fault:
            raise ConfigurationError(f"the state file {path} cannot be used: {fault}; name another or remove it") from fault

    def facts(self) -> Mapping[str, str]:
        """What was written with `begin` and `save`; empty on a new file."""
        return dict(self.db.execute("SELECT name, value FROM facts")) if self.db else {}

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing of what is written inside; one inside another is part of it."""
        if self.db is None or self.db.in_transaction:
            yield
            return
        with self.db as db:
            db.execute("BEGIN IMMEDIATE")
            yield

    def begin(self, facts: Mapping[str, str]) -> None:
        """Forget everything and start a run described by `facts`."""
        if self.db is None:
            return
        with self.transaction():
            for table in ("facts", *_OF_ACCOUNTS):
                self.db.execute(f"DELETE FROM {table}")  # noqa: S608 - names from the line above
            self.db.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())

    def forget(self, number: int) -> None:
        """Forget everything about one account."""
        if self.db is None:
            return
        with self.transaction():
            for table in _OF_ACCOUNTS:
                self.db.execute(f"DELETE FROM {table} WHERE account = ?", (number,))  # noqa: S608 - names from above

    def save(
        self,
        changes: Iterable[tuple[int, Changes]],
        accounts: Iterable[tuple[int, Mapping[str, Any]]],
        clock: datetime,
        speed: float,
    ) -> None:
        """Write changes by account number, accounts that are new or changed, and the clock, in one transaction."""
        db = self.db
        if db is None:
            return
        with self.transaction():
            db.executemany(
                "INSERT OR REPLACE INTO accounts VALUES (?, ?)", [(number, _text(facts)) for number, facts in accounts]
            )
            for number, change in changes:
                db.executemany(
                    "INSERT OR REPLACE INTO orders VALUES (?, ?, ?)",
                    [(number, o.sequence, _text(to_row(o))) for o in change.orders],
                )
                db.executemany(
                    "INSERT INTO fills (account, body) VALUES (?, ?)", [(number, _text(to_row(f))) for f in change.fills]
                )
                db.executemany(
                    "INSERT INTO entries (account, body) VALUES (?, ?)", [(number, _text(to_row(e))) for e in change.entries]
                )
                db.executemany(
                    "INSERT OR REPLACE INTO closes VALUES (?, ?, ?)",
                    [(number, day.isoformat(), str(equity)) for day, equity in change.closes],
                )
            db.executemany(
                "INSERT OR REPLACE INTO facts VALUES (?, ?)", [("clock", clock.isoformat()), ("speed", repr(float(speed)))]
            )

    def accounts(self) -> list[SavedAccount]:
        """What was saved of each account, in the order in which they were opened."""
        if self.db is None:
            return []
        rows = self.db.execute("SELECT account, body FROM accounts ORDER BY account").fetchall()
        return [self._account(number, json.loads(body)) for number, body in rows]

    def close(self) -> None:
        """Release the file."""
        if self.db is not None:
            self.db.close()
            self.db = None

    def _account(self, number: int, facts: Mapping[str, Any]) -> SavedAccount:
        def rows(query: str) -> list[tuple[str, ...]]:
            assert self.db is not None  # noqa: S101 - narrows the type; `accounts` has looked
            return self.db.execute(query, (number,)).fetchall()

        def kept(kind: type[_T], table: str, order: str) -> list[_T]:
            found = rows(f"SELECT body FROM {table} WHERE account = ? ORDER BY {order}")  # noqa: S608 - names from below
            return [from_row(kind, json.loads(body)) for (body,) in found]

        return SavedAccount(
            facts=facts,
            orders=kept(SimOrder, "orders", "sequence"),
            fills=kept(Fill, "fills", "number"),
            entries=kept(Entry, "entries", "number"),
            closes=[
                (date.fromisoformat(day), Decimal(equity))
                for day, equity in rows("SELECT day, equity FROM closes WHERE account = ? ORDER BY day")
            ],
        )


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"))
