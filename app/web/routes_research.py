"""Sweeps, walk-forwards and searches: how far they are and what came of them."""

from __future__ import annotations

from typing import Any

from app.domain.errors import NotFound
from app.web import wire
from app.web.answers import HeatMap, Open, OptimizerResults, ResearchRuns
from app.web.blueprint import blueprint, services
from app.web.schemas import EmptyBody, LimitQuery, RecordPath

api = blueprint("research", "Sweeps, walk-forwards, searches")


@api.get("/api/research", summary="Runs", responses={200: ResearchRuns})
def runs(query: LimitQuery) -> dict[str, Any]:
    """Runs of research, newest first: what was asked, and `done` of `chunks`."""
    return {"runs": [_without_result(row) for row in services().research.runs(query.limit)]}


@api.get("/api/research/<id>", summary="One run", responses={200: Open})
def run(path: RecordPath) -> dict[str, Any]:
    """State, progress, and when it is done the result."""
    return wire.fields(services().research.run(path.id))


@api.get("/api/research/<id>/heat-map", summary="Heat map of a sweep", responses={200: HeatMap})
def heat_map(path: RecordPath) -> dict[str, Any]:
    """Sharpe ratios on the train part: a row for each value of `y`, a column for each of `x`; null where a combination was
    not tried."""
    found = wire.fields(services().research.run(path.id)).get("result") or {}
    if not isinstance(found, dict) or "heat_map" not in found:
        raise NotFound(f"run {path.id} has no heat map: it is no sweep, or not done")
    return dict(found["heat_map"])


@api.post("/api/research/<id>/cancel", summary="Cancel a run", responses={200: Open})
def cancel(path: RecordPath, body: EmptyBody) -> dict[str, Any]:  # noqa: ARG001 - its form is checked
    """Stop it wherever it is worked on, within seconds. What was counted stays counted."""
    return _without_result(services().research.cancel(path.id))


@api.get("/api/optimizer/results", summary="What searches found", responses={200: OptimizerResults})
def results(query: LimitQuery) -> dict[str, Any]:
    """The best parameter sets of each search, newest first. `is_best` marks the one chosen; the headline figures are those of
    the bars that chose it, `figures` has those of each part."""
    return {"results": [wire.fields(row) for row in services().research.results(query.limit)]}


def _without_result(row: object) -> dict[str, Any]:
    return {name: value for name, value in wire.fields(row).items() if name != "result"}
