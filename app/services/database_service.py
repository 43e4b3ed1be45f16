"""The ledger's one face: every service reads and writes through it. Each method is one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection

from app.domain.audit import Break, Event, Head, Kind
from app.domain.audit_book import AuditedBook
from app.domain.bar import BarSeries
from app.domain.records import BacktestRecord, Lease, OutboxMessage, TaskRecord
from app.storage import (
    audit,
    audit_reader,
    backtests,
    bars,
    builds,
    dump,
    leases,
    migrations,
    outbox,
    redeliveries,
    task_records,
)
from app.storage.account_ledger import AccountLedger
from app.storage.database import StorageUnavailable
from app.storage.research_ledger import ResearchLedger
from app.storage.run_ledger import RunLedger
from app.storage.trading_ledger import TradingLedger


class DatabaseService(TradingLedger, ResearchLedger, RunLedger, AccountLedger):
    """The ledger's order path (see `TradingLedger`), trials and verdicts (see `ResearchLedger`), accounts (see
    `AccountLedger`), and what is kept beside them: bars, backtests, tasks, messages.

    Unknown ids raise NotFound, forbidden changes Conflict, trouble with the database itself StorageUnavailable.
    """

    def migrate(self) -> None:
        """Creates or updates the schema; safe when several processes start together. Raises ConfigurationError if the
        database was written by a newer version."""
        migrations.migrate(self._db)

    def enter_build(self, version: str, *, accepted: bool = False) -> None:
        """This version works here from now on. Raises ConfigurationError when a newer one has, unless a person accepted it."""
        self._db.write(lambda c: builds.enter(c, version, at=self._clock.now(), accepted=accepted))

    def require_build(self, version: str) -> None:
        """Raises ConfigurationError when a newer version than this one has worked here."""
        self._db.read(lambda c: builds.require(c, version))

    def build(self) -> str | None:
        """The newest version that has worked here."""
        return self._db.read(builds.newest)

    def ping(self) -> None:
        """Returns if the database answers."""
        self._db.ping()

    def close(self) -> None:
        """Closes idle connections."""
        self._db.close()

    # --- backup

    def schema(self) -> str | None:
        """The revision of the schema."""
        return self._db.read(migrations.revision)

    def dump(self, take: Callable[[str, Iterator[bytes]], None]) -> None:
        """Hands every table to `take`, its name and its rows as lines of JSON, all of one moment."""

        def work(connection: Connection) -> None:
            for name in dump.tables():
                take(name, dump.dump(connection, name))

        self._db.read(work)

    def load(self, lines_of: Callable[[str], Iterable[bytes]], *, actor: str, source: str) -> dict[str, int]:
        """Rows of such a dump into this empty database, all or none; how many by table. Raises Conflict if it is not empty."""

        def work(connection: Connection) -> dict[str, int]:
            dump.require_empty(connection)
            counts = {name: dump.load(connection, name, lines_of(name)) for name in dump.tables()}
            audit.record(connection, Kind.OPERATOR, {"action": "restored", "source": source, "actor": actor})
            return counts

        return self._db.write(work)

    def require_empty(self) -> None:
        """Raises Conflict when anything has ever happened in this database."""
        self._db.read(dump.require_empty)

    # --- bars, backtests

    def save_bars(self, series: Mapping[str, BarSeries], *, replace: bool = True) -> None:
        """Upserts bars; replace=False keeps what is there."""
        self._db.write(lambda c: bars.save(c, series, replace=replace))

    def bars(
        self,
        symbols: str | Sequence[str],
        timeframe: str,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
    ) -> dict[str, BarSeries]:
        """Bars with start <= timestamp <= end, at most the newest `limit` per symbol; symbols without bars are absent."""
        names = [symbols] if isinstance(symbols, str) else symbols

        def load(connection: Connection) -> tuple[dict[str, BarSeries], list[str]]:
            found = bars.load(connection, names, timeframe, start=start, end=end, limit=limit)
            return found, [s for s in found if limit is None and bars.is_loose(connection, s, timeframe)]

        found, loose = self._db.read(load)
        with suppress(StorageUnavailable):  # packing only saves time: whoever reads next tries again
            for symbol in loose:
                while self._db.write(partial(bars.pack, symbol=symbol, timeframe=timeframe)):
                    pass
        return found

    def save_backtest(
        self,
        params: Mapping[str, Any],
        performance: Mapping[str, Any],
        result: Mapping[str, Any],
        backtest_id: str | None = None,
    ) -> str:
        """Stores a finished backtest; its id, new unless given. One that is there already stays as it is."""
        record = BacktestRecord(
            backtest_id=backtest_id or uuid.uuid4().hex,
            created_at=self._clock.now(),
            params=params,
            performance=performance,
            result=result,
        )
        self._db.write(lambda c: backtests.add(c, record))
        return record.backtest_id

    def backtests(self, limit: int = 50, before: datetime | None = None) -> list[BacktestRecord]:
        """Newest first, without curves and trades. before: only those made earlier."""
        return self._db.read(lambda c: backtests.listing(c, limit, before))

    def backtest(self, backtest_id: str) -> BacktestRecord:
        """One backtest with everything."""
        return self._db.read(lambda c: backtests.one(c, backtest_id))

    # --- the audit log

    def check_audit(
        self, *, first: int | None = None, last: int | None = None, newest: int | None = None
    ) -> tuple[int, Head, Break | None]:
        """Walks the chain from event `first` to event `last`, or over the `newest` ones: events checked, the last that holds,
        and the first fault."""
        # Before the snapshot: what the file names must be in it.
        anchor = self._db.journal.anchor
        heads = anchor.heads() if anchor is not None else []

        def check(connection: Connection) -> tuple[int, Head, Break | None]:
            start = first if newest is None else max(1, audit_reader.length(connection) + 1 - newest)
            return audit_reader.check(connection, heads, first=start, last=last)

        return self._db.read(check)

    def audited_book(self, at: datetime | None = None) -> tuple[AuditedBook, tuple[str, ...]]:
        """The books at venue time `at` (None: now) from the log alone, and where log and ledger disagree now."""
        return self._db.read(lambda c: audit_reader.book(c, at))

    def audited_order(self, name: str) -> tuple[str, list[Event]]:
        """The client order id and the events of the order with this id, ours or the venue's."""
        return self._db.read(lambda c: audit_reader.of_order(c, name))

    def audit_events(self, numbers: Collection[int]) -> list[Event]:
        """These events, by number."""
        return self._db.read(lambda c: audit_reader.by_number(c, numbers))

    def audited_adoptions(self, symbol: str, since: int) -> list[Event]:
        """Orders of a symbol taken over from the venue after event `since`."""
        return self._db.read(lambda c: audit_reader.adopted(c, symbol, since))

    # --- tasks and messages

    def create_task(self, kind: str, params: Mapping[str, Any], task_id: str | None = None) -> str:
        """Notes a task about to be queued; its id, new unless given. One that is noted already stays as it is."""
        name = task_id or uuid.uuid4().hex
        self._db.write(lambda c: task_records.create(c, name, kind, params, self._clock.now()))
        return name

    def start_task(self, task_id: str) -> None:
        """The task runs; Conflict once it is over (a late redelivery)."""
        self._db.write(lambda c: task_records.start(c, task_id, self._clock.now()))

    def progress_task(self, task_id: str, done: int, total: int, message: str = "") -> None:
        """How far it is."""
        self._db.write(lambda c: task_records.progress(c, task_id, done, total, message))

    def finish_task(self, task_id: str, result: Mapping[str, Any]) -> None:
        """It is done."""
        self._db.write(lambda c: task_records.finish(c, task_id, result, self._clock.now()))

    def fail_task(self, task_id: str, error: str) -> None:
        """It failed; `error` is a sentence for a person."""
        self._db.write(lambda c: task_records.fail(c, task_id, error, self._clock.now()))

    def task(self, task_id: str) -> TaskRecord:
        """One task."""
        return self._db.read(lambda c: task_records.one(c, task_id))

    def tasks(self, limit: int = 50, kind: str | None = None) -> list[TaskRecord]:
        """Newest first."""
        return self._db.read(lambda c: task_records.listing(c, limit=limit, kind=kind))

    def enqueue_alert(self, kind: str, message: str, payload: Mapping[str, Any] | None = None) -> None:
        """Something people must be told; delivered apart from the trading path."""
        self._db.write(lambda c: outbox.enqueue(c, kind, message, payload or {}, self._clock.now()))

    def outbox_pending(self, limit: int = 50) -> list[OutboxMessage]:
        """Undelivered messages, oldest first."""
        return self._db.read(lambda c: outbox.pending(c, limit))

    def outbox_sent(self, message_id: int) -> None:
        """It was delivered."""
        self._db.write(lambda c: outbox.mark_sent(c, message_id, self._clock.now()))

    def outbox_failed(self, message_id: int, error: str) -> None:
        """A delivery failed; it is tried again, `app.storage.outbox.MAX_ATTEMPTS` times in all."""
        self._db.write(lambda c: outbox.mark_failed(c, message_id, error))

    # --- processes

    def take_lease(self, name: str, *, owner: str, patience: timedelta, is_alive: Callable[[str], bool]) -> int | None:
        """The right to do the work of that name alone, as a fence; None while somebody else has it. It stands until it is
        given back, its owner is known to be dead, or it was not renewed for `patience`."""
        now = self._clock.now()
        return self._db.write(lambda c: leases.take(c, name, owner=owner, now=now, patience=patience, is_alive=is_alive))

    def renew_lease(self, name: str, *, fence: int, status: Mapping[str, Any]) -> bool:
        """Whether the lease with this fence still stands. status: what its owner tells about its work."""
        return self._db.write(lambda c: leases.renew(c, name, fence=fence, now=self._clock.now(), status=status))

    def release_lease(self, name: str, *, fence: int) -> None:
        """Gives a lease back; nothing if it is another's by now."""
        self._db.write(lambda c: leases.release(c, name, fence=fence))

    def lease(self, name: str) -> Lease | None:
        """Who has it, None if nobody ever had."""
        return self._db.read(lambda c: leases.one(c, name))

    def note_redelivery(self, message_id: str, task: str) -> int:
        """A message came again because the process that had taken it died; how often that has been."""
        return self._db.write(lambda c: redeliveries.note(c, message_id, task=task, at=self._clock.now()))
