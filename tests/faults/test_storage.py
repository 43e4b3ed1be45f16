"""Database and files (rows E), what the order path's own tests leave open."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event, text

from app.domain.order import ValidatedOrder
from app.services.database_service import DatabaseService
from app.storage.database import Database, StorageUnavailable
from tests.databases import HandClock
from tests.faults.bench import RISING, Bench
from tests.storage.made import T0, after, capacity, open_books, order, risk


@pytest.mark.row("E03")
def test_e03_a_cycle_on_a_full_disk_sends_nothing_and_the_next_one_after_it_does(bench: Bench) -> None:
    bench.start({})
    bench.cycle()
    full = {"on": True}

    @event.listens_for(bench.ledger._db.engine, "begin")
    def _(connection: Any) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one() if full["on"] else 2**30
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    bench.expect(RISING)
    for _ in range(3):
        report = bench.cycle()
        if report.outcome == "failed":
            assert "full" in report.detail
            break
    else:
        pytest.fail("the disk never was full")
    sent = bench.posts()
    full["on"] = False
    bench.exchange.step()
    bench.cycle()
    bench.cycle()
    assert set(bench.posts().values()) <= {1}
    assert sum(bench.posts().values()) >= sum(sent.values())
    bench.assert_books_agree()


@pytest.mark.row("E12")
def test_e12_a_commit_whose_server_goes_is_read_again_by_its_key(postgresql_url: str, ledger: DatabaseService) -> None:
    database = Database(postgresql_url)
    if ledger._db.is_sqlite:
        database.close()
        pytest.skip("a server that goes is PostgreSQL's")
    service = DatabaseService(database, HandClock())
    open_books(service)
    service.save_risk_state(risk())
    watcher = create_engine(postgresql_url, isolation_level="AUTOCOMMIT")
    going = {"on": True}

    @event.listens_for(database.engine, "commit")
    def _(connection: Any) -> None:
        if going.pop("on", False):
            pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            with watcher.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})

    def commit() -> Any:
        return service.commit_orders(
            [ValidatedOrder(order())], source="test", capacity=capacity(), expires_at=after(600), at=T0
        )

    with pytest.raises(StorageUnavailable):
        commit()
    assert not commit().refusals, "the same key again: whatever became of the first, there is one"
    assert [one.client_order_id for one in service.orders()] == ["at-aapl-1"]
    watcher.dispose()
    database.close()


@pytest.mark.row("E14")
def test_e14_readers_that_hold_every_connection_leave_the_trading_process_its_own(sqlite_ledger: DatabaseService) -> None:
    url = sqlite_ledger._db.url.render_as_string(hide_password=False)
    api = Database(url, pool_size=1, busy_timeout_seconds=0.2)
    held, over = threading.Barrier(22), threading.Event()

    def slow(connection: Any) -> None:
        connection.execute(text("SELECT count(*) FROM cycles")).scalar_one()
        held.wait(30)
        over.wait(30)

    readers = [threading.Thread(target=api.read, args=(slow,)) for _ in range(21)]
    for reader in readers:
        reader.start()
    held.wait(30)
    with pytest.raises(StorageUnavailable):
        api.ping()
    started = time.monotonic()
    sqlite_ledger.enqueue_alert("test", "still written")
    assert time.monotonic() - started < 5
    over.set()
    for reader in readers:
        reader.join()
    api.close()


@pytest.mark.row("E07")
@pytest.mark.parametrize("content", [b"", b"{}", b"null", b"\x00\xff", b'{"version": 2, "trading_state": 0}'])
def test_e07_a_damaged_mirror_clears_no_halt(bench: Bench, content: bytes) -> None:
    bench.start({})
    bench.cycle()
    bench.system.risk.halt("ann", "odd")
    peak = bench.risk.high_water_equity
    mirror: Path = bench.directory / "risk_state.json"
    mirror.write_bytes(content)
    bench.start(RISING)
    assert bench.cycle().orders == 0
    assert (bench.trading, bench.risk.high_water_equity) == (("HALTED", "operator"), peak)


@pytest.mark.row("E16")
@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_e16_a_database_file_that_goes_stops_trading_and_is_not_made_anew(bench: Bench, how: str) -> None:
    bench.start({})
    bench.cycle()
    file = bench.ledger._db.file
    assert file is not None
    backup = file.with_name("backup.db")
    shutil.copyfile(file, backup)
    file.unlink()
    if how == "replaced":
        backup.rename(file)
    bench.expect(RISING)
    with pytest.raises(StorageUnavailable):
        bench.system.trading.run_cycle()
    assert bench.posts().total() == 0
    if how == "deleted":
        with pytest.raises(StorageUnavailable):
            bench.system.trading.run_cycle()
