"""The state of long work."""

from __future__ import annotations

from typing import Any

from app.web import wire
from app.web.answers import Open, Tasks
from app.web.blueprint import blueprint, services
from app.web.schemas import LimitQuery, RecordPath

api = blueprint("tasks", "Long work")


@api.get("/api/tasks", summary="Tasks", responses={200: Tasks})
def tasks(query: LimitQuery) -> dict[str, Any]:
    """Trainings, tunings, backtests and cycles started by hand, newest first."""
    return {"tasks": [wire.fields(row) for row in services().database.tasks(query.limit)]}


@api.get("/api/tasks/<id>", summary="One task", responses={200: Open})
def task(path: RecordPath) -> dict[str, Any]:
    """State, progress, and when finished the result."""
    return wire.fields(services().database.task(path.id))
