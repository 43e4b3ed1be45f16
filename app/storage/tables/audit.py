"""The audit log."""

from __future__ import annotations

from sqlalchemy import Column, Integer, Table, Text

from app.domain.audit import FIELDS
from app.storage.tables.metadata import METADATA

# The audit log: texts as they were hashed; see `app.domain.audit`. Triggers refuse any change.
AUDIT_LOG = Table(
    "audit_log",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    *(Column(name, Text, nullable=False, index=name in {"cycle_id", "client_order_id", "venue_order_id"}) for name in FIELDS),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

# One row: the newest event. at: the newest venue time known. origin: program version and configuration that wrote last.
AUDIT_HEAD = Table(
    "audit_head",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", Integer, nullable=False),
    Column("hash", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("origin", Text, nullable=False),
)
