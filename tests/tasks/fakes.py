"""Services as tasks see them, without a database, a venue or models."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from app.domain.errors import Conflict, NotFound

AT = datetime(2024, 1, 3, 23, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Record:
    task_id: str
    kind: str
    params: Mapping[str, Any]
    state: str = "queued"
    result: Mapping[str, Any] | None = None
    error: str | None = None
    progress: tuple[int, int, str] = (0, 0, "")


@dataclass
class FakeDatabase:
    """Task records in memory, with the rules of the real ones: what is over stays as it is."""

    records: dict[str, Record] = field(default_factory=dict)
    alerts: list[str] = field(default_factory=list)
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    def create_task(self, kind: str, params: Mapping[str, Any]) -> str:
        task_id = f"task-{next(self._ids)}"
        self.records[task_id] = Record(task_id, kind, dict(params))
        return task_id

    def task(self, task_id: str) -> Record:
        if task_id not in self.records:
            raise NotFound(f"no task {task_id}")
        return self.records[task_id]

    def tasks(self, limit: int = 50) -> list[Record]:
        return list(reversed(self.records.values()))[:limit]

    def start_task(self, task_id: str) -> None:
        self._change(task_id, state="running")

    def progress_task(self, task_id: str, done: int, total: int, message: str) -> None:
        self._change(task_id, progress=(done, total, message))

    def finish_task(self, task_id: str, result: Mapping[str, Any]) -> None:
        self._change(task_id, state="done", result=result)

    def fail_task(self, task_id: str, error: str) -> None:
        self._change(task_id, state="failed", error=error)

    def enqueue_alert(self, kind: str, message: str, payload: Mapping[str, Any] | None = None) -> None:
        self.alerts.append(message)

    def _change(self, task_id: str, **values: Any) -> None:
        record = self.task(task_id)
        if record.state in ("done", "failed"):
            raise Conflict("over")
        self.records[task_id] = replace(record, **values)


class FakeQueue:
    """Creates the record; the test runs it."""

    def __init__(self, database: FakeDatabase) -> None:
        self.database = database

    def enqueue(self, kind: str, params: Mapping[str, Any]) -> str:
        return self.database.create_task(kind, params)


def fake_services(*, train: Callable[..., Any] = lambda *a, **k: [], tune: Callable[..., Any] = lambda *a, **k: []) -> Any:
    database = FakeDatabase()
    return SimpleNamespace(
        settings=SimpleNamespace(watchlist=("AAPL", "MSFT")),
        database=database,
        tasks=FakeQueue(database),
        alpaca=SimpleNamespace(
            clock=lambda: SimpleNamespace(now=AT), training_bars=lambda symbols: (dict.fromkeys(symbols, "bars"), AT)
        ),
        ai=SimpleNamespace(train_batch=train, forecast=lambda bars, at: {}),
        optimizer=SimpleNamespace(tune=tune),
        divergence=SimpleNamespace(nightly=lambda progress: None),
        close=lambda: None,
    )
