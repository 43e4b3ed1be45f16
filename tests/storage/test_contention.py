"""Several threads and processes at one database: one winner of every race, and nobody is ever told that it is locked."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from decimal import Decimal
from itertools import chain

import pytest
from sqlalchemy import text

from app.storage.database import Database
from tests.storage import contenders
from tests.storage.made import T0, committed, decided, decision, open_books, order, start_cycle

PROCESSES = 4
SECONDS = 1.5


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.storage.contenders"])
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        yield pool


def results(futures: list[Future]) -> list:
    return [future.result(timeout=60) for future in futures]


@pytest.mark.processes
def test_processes_that_migrate_together_all_find_it_done(empty_database_url, processes):
    done = results([processes.submit(contenders.migrate, empty_database_url) for _ in range(PROCESSES)])
    assert done == ["migrated"] * PROCESSES


@pytest.mark.row("D03")
@pytest.mark.processes
def test_each_intent_has_one_sender(ledger, database_url, processes):
    start_cycle(ledger)
    open_books(ledger)
    committed(ledger, decision(*(order(name, symbol=name.upper()) for name in contenders.INTENTS)))
    won = results([processes.submit(contenders.claim_intents, database_url) for _ in range(PROCESSES)])
    assert sorted(chain.from_iterable(won)) == sorted(contenders.INTENTS)


def test_each_intent_has_one_sender_among_threads(ledger):
    decided(ledger, order())
    gate = threading.Barrier(8)

    def claim() -> int | None:
        gate.wait(10)
        return ledger.claim_intent("at-aapl-1", cycle_id="c1", now=T0)

    with ThreadPoolExecutor(8) as threads:
        assert [fence for fence in results([threads.submit(claim) for _ in range(8)]) if fence is not None] == [1]


@pytest.mark.processes
@pytest.mark.parametrize(("same", "others"), [(True, "already_running"), (False, "overlap")])
def test_one_process_runs_a_cycle(ledger, database_url, processes, same, others):
    futures = [
        processes.submit(contenders.claim_cycle, database_url, "c" if same else f"c{i}", f"w{i}") for i in range(PROCESSES)
    ]
    assert sorted(results(futures)) == sorted(["claimed", *[others] * (PROCESSES - 1)])
    assert len(ledger.cycles()) == 1


@pytest.mark.row("E02")
@pytest.mark.processes
def test_writers_never_meet_a_locked_database(ledger, database_url, processes):
    ledger.open_account("a", Decimal(0), T0)
    ledger.create_task("busy", {}, task_id="t")
    futures = [processes.submit(contenders.write_for_a_while, database_url, f"p{i}", SECONDS) for i in range(PROCESSES)]
    counts, waits = zip(*results(futures), strict=True)
    assert min(counts) > 0
    assert ledger.portfolio().positions["AAPL"].quantity == 10 * sum(counts)
    print(f"{sum(counts) / SECONDS:.0f} pairs of transactions/s, longest {max(waits):.2f} s")


@pytest.mark.processes
def test_a_forked_child_leaves_its_parents_connections_alone(database: Database):
    def number() -> int:
        query = "SELECT 0" if database.is_sqlite else "SELECT pg_backend_pid()"
        return database.read(lambda c: c.execute(text(query)).scalar_one())

    before = number()
    child = os.fork()
    if child == 0:
        # Not a test any more: whatever happens, this process ends here.
        other = -1
        try:
            other = number()
        finally:
            os._exit(0 if other != -1 and (database.is_sqlite or other != before) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert number() == before


@pytest.mark.row("E13")
def test_a_conflict_is_repeated_from_the_beginning(database: Database):
    """PostgreSQL finds out at the end that two transactions cannot both be right; one of them runs again."""
    database.write(lambda c: c.execute(text("CREATE TABLE counters (n INTEGER)")))
    database.write(lambda c: c.execute(text("INSERT INTO counters VALUES (0)")))
    gate = threading.Barrier(2)
    runs: list[int] = []

    def work(connection):
        value = connection.execute(text("SELECT n FROM counters")).scalar_one()
        if not database.is_sqlite and len(runs) < 2:
            runs.append(value)
            gate.wait(10)  # both have read before either writes
        connection.execute(text("UPDATE counters SET n = :n"), {"n": value + 1})

    try:
        with ThreadPoolExecutor(2) as threads:
            results([threads.submit(database.write, work) for _ in range(2)])
        assert database.read(lambda c: c.execute(text("SELECT n FROM counters")).scalar_one()) == 2
    finally:
        database.write(lambda c: c.execute(text("DROP TABLE counters")))
