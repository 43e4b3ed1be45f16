"""Every row of the ledger as lines of JSON, the same for SQLite and PostgreSQL, and back into an empty database."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from enum import Enum
from itertools import islice
from typing import Any

from sqlalchemy import Column, Connection, LargeBinary, Table, func, insert, select, text, update

from app.domain.errors import Conflict
from app.storage.columns import ExactDecimal, Instant
from app.storage.tables import AUDIT_HEAD, BAR_BLOCKS, BUILD, LEASES, LOGIN_ATTEMPTS, METADATA, REDELIVERIES, SESSIONS

# Copies of other rows, and what is told of processes, messages and visits that will not be there.
_LEFT_OUT = {one.name for one in (BAR_BLOCKS, LEASES, LOGIN_ATTEMPTS, REDELIVERIES, SESSIONS)}
_ROWS = 5_000


def tables() -> list[str]:
    """What is dumped, in an order in which it can be loaded."""
    return [table.name for table in METADATA.sorted_tables if table.name not in _LEFT_OUT]


def dump(connection: Connection, name: str) -> Iterator[bytes]:
    """The rows of a table, a line each."""
    table = METADATA.tables[name]
    rows = connection.execution_options(stream_results=True, yield_per=_ROWS).execute(
        select(table).order_by(*table.primary_key)
    )
    for row in rows:
        values = {column.name: _said(value) for column, value in zip(table.columns, row, strict=True) if value is not None}
        yield json.dumps(values, separators=(",", ":")).encode() + b"\n"


def load(connection: Connection, name: str, lines: Iterable[bytes]) -> int:
    """Puts such lines into a table that has none; how many there were."""
    table, count = METADATA.tables[name], 0
    readers = {column.name: _reader(column) for column in table.columns}
    remaining = iter(lines)
    while some := list(islice(remaining, _ROWS)):
        rows = [{key: readers[key](value) for key, value in json.loads(line).items()} for line in some]
        whole = [dict.fromkeys(readers) | row for row in rows]
        if table is AUDIT_HEAD:  # every database begins with this one row, and it only goes forward
            head = {key: value for key, value in whole[0].items() if key != "id"}
            connection.execute(update(table).values(head).where(table.c.seq < head["seq"]))
        else:
            connection.execute(insert(table), whole)
        count += len(rows)
    _continue_numbers(connection, table)
    return count


def require_empty(connection: Connection) -> None:
    """Raises Conflict when anything has ever happened in this database."""
    for table in METADATA.sorted_tables:
        if table not in (AUDIT_HEAD, BUILD) and connection.execute(select(func.count()).select_from(table)).scalar_one():
            raise Conflict(
                f"the database is not empty (rows in {table.name}); nothing is overwritten: set DATABASE_URL to a new one",
                code="not_empty",
            )


def _said(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    return value.value if isinstance(value, Enum) else value


def _reader(column: Column[Any]) -> Callable[[Any], Any]:
    if isinstance(column.type, ExactDecimal):
        return Decimal
    if isinstance(column.type, Instant):
        return datetime.fromisoformat
    return base64.b64decode if isinstance(column.type, LargeBinary) else lambda value: value


def _continue_numbers(connection: Connection, table: Table) -> None:
    """PostgreSQL gives out numbers from a sequence, which knows nothing of rows that brought their own."""
    column = table.autoincrement_column
    if column is None or connection.dialect.name == "sqlite":
        return
    sequence = connection.execute(text("SELECT pg_get_serial_sequence(:t, :c)"), {"t": table.name, "c": column.name}).scalar()
    if sequence is not None:
        newest = connection.execute(select(func.max(column))).scalar()
        connection.execute(text("SELECT setval(:s, :n, :used)"), {"s": sequence, "n": newest or 1, "used": newest is not None})
