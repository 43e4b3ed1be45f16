"""Long-running tasks: what was asked, how far it is, what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from app.domain.errors import Conflict, NotFound
from app.domain.records import TaskRecord, TaskState
from app.storage.tables import TASKS

_OVER = (TaskState.DONE, TaskState.FAILED)


def create(connection: Connection, task_id: str, kind: str, params: Mapping[str, Any], at: datetime) -> None:
    """Notes a task that is about to be queued; one that is noted already stays as it is."""
    if connection.execute(select(TASKS.c.task_id).where(TASKS.c.task_id == task_id)).first() is not None:
        return
    values = {"task_id": task_id, "kind": kind, "state": TaskState.QUEUED, "params": dict(params), "created_at": at}
    connection.execute(insert(TASKS).values(**values, done=0, total=0, message=""))


def start(connection: Connection, task_id: str, at: datetime) -> None:
    """Queued -> running; a task delivered again goes on running. Raises NotFound, and Conflict once it is over."""
    _change(connection, task_id, state=TaskState.RUNNING, started_at=at)


def progress(connection: Connection, task_id: str, done: int, total: int, message: str) -> None:
    """How far it is. Raises NotFound, and Conflict once it is over."""
    _change(connection, task_id, done=done, total=total, message=message)


def finish(connection: Connection, task_id: str, result: Mapping[str, Any], at: datetime) -> None:
    """Running -> done. Raises NotFound, and Conflict once it is over."""
    _change(connection, task_id, state=TaskState.DONE, result=dict(result), finished_at=at)


def fail(connection: Connection, task_id: str, error: str, at: datetime) -> None:
    """Queued or running -> failed. Raises NotFound, and Conflict once it is over."""
    _change(connection, task_id, state=TaskState.FAILED, error=error, finished_at=at)


def one(connection: Connection, task_id: str) -> TaskRecord:
    """A task. Raises NotFound."""
    row = connection.execute(select(TASKS).where(TASKS.c.task_id == task_id)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"no task {task_id}")
    return TaskRecord(**row)


def listing(connection: Connection, *, limit: int, kind: str | None) -> list[TaskRecord]:
    """Newest first."""
    query = select(TASKS).order_by(TASKS.c.created_at.desc(), TASKS.c.task_id).limit(limit)
    if kind is not None:
        query = query.where(TASKS.c.kind == kind)
    return [TaskRecord(**row) for row in connection.execute(query).mappings()]


def _change(connection: Connection, task_id: str, **values: Any) -> None:
    change = update(TASKS).where(TASKS.c.task_id == task_id, TASKS.c.state.not_in(_OVER)).values(**values)
    if connection.execute(change).rowcount != 1:
        task = one(connection, task_id)
        raise Conflict(f"task {task_id} is over: {task.state}", code="task_over")
