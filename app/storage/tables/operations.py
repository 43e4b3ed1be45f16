"""The running product: its version, tasks, messages, leases."""

from __future__ import annotations

from sqlalchemy import Column, Integer, Table

from app.domain.records import TaskState
from app.storage.columns import Instant, Json, Word, Words
from app.storage.tables.metadata import METADATA

# The one row: the newest version of the product that has worked here.
BUILD = Table(
    "build",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Words, nullable=False),
    Column("since", Instant, nullable=False),
)

TASKS = Table(
    "tasks",
    METADATA,
    Column("task_id", Words, primary_key=True),
    Column("kind", Words, nullable=False),
    Column("state", Word(TaskState), nullable=False),
    Column("params", Json, nullable=False),
    Column("done", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("message", Words, nullable=False),
    Column("result", Json),
    Column("error", Words),
    Column("created_at", Instant, nullable=False, index=True),
    Column("started_at", Instant),
    Column("finished_at", Instant),
)

OUTBOX = Table(
    "outbox",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("kind", Words, nullable=False),
    Column("message", Words, nullable=False),
    Column("payload", Json, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("sent_at", Instant, index=True),
    Column("attempts", Integer, nullable=False),
    Column("error", Words),
)

# owner: a process, as `app.runtime.owner` names it; empty when given back. status: what the owner tells about its work.
LEASES = Table(
    "leases",
    METADATA,
    Column("name", Words, primary_key=True),
    Column("owner", Words, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("taken_at", Instant, nullable=False),
    Column("renewed_at", Instant, nullable=False),
    Column("status", Json, nullable=False),
)

# Messages that came again because the process that had taken them died.
REDELIVERIES = Table(
    "redeliveries",
    METADATA,
    Column("message_id", Words, primary_key=True),
    Column("task", Words, nullable=False),
    Column("count", Integer, nullable=False),
    Column("last_at", Instant, nullable=False),
)
