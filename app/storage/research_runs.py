"""Runs of research and their chunks: who works on which, and what came of it. A chunk that is done stays done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from app.domain.errors import NotFound
from app.domain.research import ChunkState, ResearchChunk, ResearchRun, RunState
from app.storage.tables import RESEARCH_CHUNKS, RESEARCH_RUNS

NOBODY = ""
_C, _R = RESEARCH_CHUNKS.c, RESEARCH_RUNS.c


def create(
    connection: Connection,
    run_id: str,
    *,
    kind: str,
    request: Mapping[str, Any],
    dataset: str,
    chunks: Sequence[Mapping[str, Any]],
    at: datetime,
) -> None:
    """Notes a run and its chunks, and the last chunk that puts them together. One that is noted already stays as it is."""
    if connection.execute(select(_R.run_id).where(_R.run_id == run_id)).first() is not None:
        return
    values = {"run_id": run_id, "kind": kind, "state": RunState.OPEN, "request": dict(request), "dataset": dataset}
    connection.execute(insert(RESEARCH_RUNS).values(**values, chunks=len(chunks), created_at=at))
    rows = [
        {"run_id": run_id, "number": number, "state": ChunkState.OPEN, "params": dict(params), "owner": NOBODY, "attempts": 0}
        for number, params in enumerate([*chunks, {}])
    ]
    connection.execute(insert(RESEARCH_CHUNKS), rows)


def lease(
    connection: Connection, run_id: str, *, owner: str, now: datetime, patience: timedelta, is_alive: Callable[[str], bool]
) -> ResearchChunk | None:
    """The first chunk that nobody works on, for `owner`; the last one only when all others are done. None: there is none
    now. Whoever is dead, or has not renewed for `patience`, works on nothing."""
    run = _row(connection, run_id)
    if run["state"] is not RunState.OPEN:
        return None
    query = select(_C.number, _C.state, _C.params, _C.owner, _C.attempts, _C.renewed_at)
    waiting = connection.execute(query.where(_C.run_id == run_id, _C.state != ChunkState.DONE).order_by(_C.number)).mappings()
    unfinished = waiting.all()
    for row in unfinished:
        if row["number"] == run["chunks"] and len(unfinished) > 1:
            return None
        held = row["state"] is ChunkState.LEASED and row["owner"] != owner
        if held and now - row["renewed_at"] < patience and is_alive(row["owner"]):
            continue
        change = update(RESEARCH_CHUNKS).where(_C.run_id == run_id, _C.number == row["number"])
        attempts = row["attempts"] + 1
        connection.execute(change.values(state=ChunkState.LEASED, owner=owner, renewed_at=now, attempts=attempts))
        return ResearchChunk(run_id=run_id, number=row["number"], params=row["params"], attempts=attempts)
    return None


def renew(connection: Connection, run_id: str, number: int, *, owner: str, now: datetime) -> bool:
    """Whether `owner` may go on with the chunk: the run is still open, and nobody has taken it over."""
    if _row(connection, run_id)["state"] is not RunState.OPEN:
        return False
    mine = update(RESEARCH_CHUNKS).where(_C.run_id == run_id, _C.number == number, _C.owner == owner)
    return connection.execute(mine.where(_C.state == ChunkState.LEASED).values(renewed_at=now)).rowcount == 1


def keep(connection: Connection, run_id: str, number: int, result: Mapping[str, Any]) -> bool:
    """The chunk is done; whether it was not before. Whoever was taken over and ends after all changes nothing."""
    undone = update(RESEARCH_CHUNKS).where(_C.run_id == run_id, _C.number == number, _C.state != ChunkState.DONE)
    return connection.execute(undone.values(state=ChunkState.DONE, result=dict(result))).rowcount == 1


def end(
    connection: Connection, run_id: str, state: RunState, *, at: datetime, result: Mapping[str, Any] | None, error: str | None
) -> bool:
    """The run is over; whether it was not before. NotFound."""
    _row(connection, run_id)
    change = update(RESEARCH_RUNS).where(_R.run_id == run_id, _R.state == RunState.OPEN)
    values = {"state": state, "result": None if result is None else dict(result), "error": error, "finished_at": at}
    return connection.execute(change.values(**values)).rowcount == 1


def results(connection: Connection, run_id: str) -> list[dict[str, Any] | None]:
    """What came of each chunk but the last, in order; None where it is not done."""
    run = _row(connection, run_id)
    rows = select(_C.result).where(_C.run_id == run_id, _C.number < run["chunks"]).order_by(_C.number)
    return list(connection.execute(rows).scalars())


def one(connection: Connection, run_id: str) -> ResearchRun:
    """A run. NotFound."""
    row = _row(connection, run_id)
    return ResearchRun(**row, done=_done(connection, [run_id]).get(run_id, 0))


def listing(connection: Connection, *, limit: int, kind: str | None) -> list[ResearchRun]:
    """Newest first, without their results."""
    query = select(*(column for column in _R if column.name != "result"))
    query = query.order_by(_R.created_at.desc(), _R.run_id).limit(limit)
    if kind is not None:
        query = query.where(_R.kind == kind)
    rows = connection.execute(query).mappings().all()
    done = _done(connection, [row["run_id"] for row in rows])
    return [ResearchRun(**row, result=None, done=done.get(row["run_id"], 0)) for row in rows]


def _row(connection: Connection, run_id: str) -> Any:
    row = connection.execute(select(RESEARCH_RUNS).where(_R.run_id == run_id)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"no research run {run_id}")
    return row


def _done(connection: Connection, run_ids: Sequence[str]) -> dict[str, int]:
    counted = select(_C.run_id, func.count()).join(RESEARCH_RUNS, _R.run_id == _C.run_id)
    finished = _C.run_id.in_(run_ids), _C.state == ChunkState.DONE, _C.number < _R.chunks
    return {row[0]: row[1] for row in connection.execute(counted.where(*finished).group_by(_C.run_id))}
