"""What searches found: the best parameter sets of each, one of them marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, delete, insert, select

from app.domain.research import OptimizerResult
from app.storage.tables import OPTIMIZER_RESULTS


def save(connection: Connection, run_id: str, results: Sequence[OptimizerResult]) -> None:
    """The results of a run, in place of any it had."""
    connection.execute(delete(OPTIMIZER_RESULTS).where(OPTIMIZER_RESULTS.c.run_id == run_id))
    if results:
        connection.execute(insert(OPTIMIZER_RESULTS), [asdict(result) for result in results])


def listing(connection: Connection, *, limit: int, only_best: bool) -> list[OptimizerResult]:
    """Newest first, the best of each run before the others."""
    table = OPTIMIZER_RESULTS.c
    query = select(OPTIMIZER_RESULTS).order_by(table.created_at.desc(), table.run_id, table.rank).limit(limit)
    if only_best:
        query = query.where(table.is_best)
    return [OptimizerResult(**row) for row in connection.execute(query).mappings()]
