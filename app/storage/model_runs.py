"""Trainings and tunings, one row per symbol and run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from sqlalchemy import Connection, insert, select

from app.domain.errors import NotFound
from app.domain.records import ModelRun
from app.storage.tables import MODEL_RUNS


def add(connection: Connection, runs: Sequence[ModelRun]) -> None:
    """Stores finished runs."""
    if runs:
        connection.execute(insert(MODEL_RUNS), [{item.name: getattr(run, item.name) for item in fields(run)} for run in runs])


def one(connection: Connection, run_id: str) -> ModelRun:
    """A run. Raises NotFound."""
    row = connection.execute(select(MODEL_RUNS).where(MODEL_RUNS.c.run_id == run_id)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"no model run {run_id}")
    return ModelRun(**row)


def listing(connection: Connection, *, limit: int, symbol: str | None, kind: str | None) -> list[ModelRun]:
    """Newest first."""
    query = select(MODEL_RUNS).order_by(MODEL_RUNS.c.finished_at.desc(), MODEL_RUNS.c.run_id).limit(limit)
    if symbol is not None:
        query = query.where(MODEL_RUNS.c.symbol == symbol)
    if kind is not None:
        query = query.where(MODEL_RUNS.c.kind == kind)
    return [ModelRun(**row) for row in connection.execute(query).mappings()]
