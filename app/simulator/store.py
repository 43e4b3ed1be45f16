"""The exchange's memory on disk: accounts with their orders, executions, activities and closes, and the clock, written through
with every change.

SQLite in WAL mode: a killed process loses nothing that was answered. Cash and positions are not stored: they are the fold
of the executions and activities.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from app.domain.errors import ConfigurationError
from app.domain.order import Fill
from app.simulator.ledger import Changes, Entry, Ledger, SimOrder

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS accounts (account INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS orders (account INTEGER, sequence INTEGER, body TEXT NOT NULL, PRIMARY KEY (account, sequence));
CREATE TABLE IF NOT EXISTS fills (number INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entries (number INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS closes (account INTEGER, day TEXT, equity TEXT NOT NULL, PRIMARY KEY (account, day));
"""
_TABLES = ("facts", "accounts", "orders", "fills", "entries", "closes")
_T = TypeVar("_T", SimOrder, Fill, Entry)


class Store:
    """One state file. path None keeps nothing. Accounts are known by number, in the order in which they were opened."""

    def __init__(self, path: Path | None) -> None:
        self._db: sqlite3.Connection | None = None
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=5, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as fault:
            raise ConfigurationError(f"the state file {path} cannot be used: {fault}; name another or remove it") from fault

    def facts(self) -> Mapping[str, str]:
        """What was written with `begin` and `save`; empty on a new file."""
        return dict(self._db.execute("SELECT name, value FROM facts")) if self._db else {}

    def begin(self, facts: Mapping[str, str]) -> None:
        """Forget everything and start a run described by `facts`."""
        if self._db is None:
            return
        with self._db as db:
            db.execute("BEGIN IMMEDIATE")
            for table in _TABLES:
                db.execute(f"DELETE FROM {table}")  # noqa: S608 - names from the line above
            db.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())

    def save(
        self,
        changes: Iterable[tuple[int, Changes]],
        accounts: Iterable[tuple[int, Mapping[str, str]]],
        clock: datetime,
        speed: float,
    ) -> None:
        """Write changes by account number, accounts that are new or changed, and the clock, in one transaction."""
        if self._db is None:
            return
        with self._db as db:
            db.execute("BEGIN IMMEDIATE")
            db.executemany(
                "INSERT OR REPLACE INTO accounts VALUES (?, ?)", [(number, json.dumps(facts)) for number, facts in accounts]
            )
            for number, (orders, fills, closes, entries, _) in changes:
                db.executemany(
                    "INSERT OR REPLACE INTO orders VALUES (?, ?, ?)", [(number, o.sequence, _dump(o)) for o in orders]
                )
                db.executemany("INSERT INTO fills (account, body) VALUES (?, ?)", [(number, _dump(f)) for f in fills])
                db.executemany("INSERT INTO entries (account, body) VALUES (?, ?)", [(number, _dump(e)) for e in entries])
                db.executemany(
                    "INSERT OR REPLACE INTO closes VALUES (?, ?, ?)", [(number, day.isoformat(), str(e)) for day, e in closes]
                )
            db.executemany(
                "INSERT OR REPLACE INTO facts VALUES (?, ?)", [("clock", clock.isoformat()), ("speed", repr(float(speed)))]
            )

    def accounts(self) -> list[Mapping[str, str]]:
        """What was saved of each account, in the order in which they were opened."""
        rows = self._db.execute("SELECT body FROM accounts ORDER BY account").fetchall() if self._db else []
        return [json.loads(body) for (body,) in rows]

    def load(self, number: int, ledger: Ledger) -> None:
        """Put every stored order, execution, activity and close of account `number` into an empty ledger."""
        if self._db is None:
            return
        for (body,) in self._db.execute("SELECT body FROM orders WHERE account = ? ORDER BY sequence", (number,)):
            ledger.put(_load(SimOrder, body))
        fills = self._db.execute("SELECT body FROM fills WHERE account = ? ORDER BY number", (number,))
        entries = self._db.execute("SELECT body FROM entries WHERE account = ? ORDER BY number", (number,))
        ledger.restore([_load(Fill, body) for (body,) in fills], [_load(Entry, body) for (body,) in entries])
        for day, equity in self._db.execute("SELECT day, equity FROM closes WHERE account = ? ORDER BY day", (number,)):
            ledger.closes.append((date.fromisoformat(day), Decimal(equity)))
        ledger.take_changes()

    def close(self) -> None:
        """Release the file."""
        if self._db is not None:
            self._db.close()
            self._db = None


def _dump(value: SimOrder | Fill | Entry) -> str:
    fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return json.dumps({name: v for name, v in fields.items() if v is not None}, default=_plain, separators=(",", ":"))


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _load(kind: type[_T], body: str) -> _T:
    hints = get_type_hints(kind)
    return kind(**{name: _read(hints[name], value) for name, value in json.loads(body).items()})


def _read(hint: Any, value: Any) -> Any:
    if isinstance(hint, UnionType):
        hint = next(part for part in get_args(hint) if part is not type(None))
    if hint in {date, datetime}:
        return hint.fromisoformat(value)
    return value if hint in {str, int, bool} else hint(value)
