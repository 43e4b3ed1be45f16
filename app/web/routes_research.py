"""Sweeps, walk-forwards and searches: begun, how far they are, and what came of them."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify

from app.domain.errors import InvalidInput, NotFound
from app.reports.html import page, policy, research_page
from app.reports.png import picture
from app.reports.research_png import research_picture
from app.services.research.request import ResearchRequest
from app.web import wire
from app.web.answers import Begun, HeatMap, Open, OptimizerResults, ResearchRuns
from app.web.blueprint import blueprint, services
from app.web.schemas import EmptyBody, LimitQuery, RecordPath, SearchBody, SweepBody, WalkForwardBody

api = blueprint("research", "Sweeps, walk-forwards, searches")


@api.get("/api/research", summary="Runs", responses={200: ResearchRuns})
def runs(query: LimitQuery) -> dict[str, Any]:
    """Runs of research, newest first: what was asked, and `done` of `chunks`."""
    return {"runs": [_without_result(row) for row in services().research.runs(query.limit)]}


@api.get("/api/research/<id>", summary="One run", responses={200: Open})
def run(path: RecordPath) -> dict[str, Any]:
    """State, progress, and when it is done the result."""
    return wire.fields(services().research.run(path.id))


@api.post("/api/research/sweeps", summary="Begin a sweep", responses={202: Begun})
def begin_sweep(body: SweepBody) -> Response:
    """Try every combination of `grid` on the first part of the bars, choose on the second, tell the worth on the third. The
    workers of the queue do it; ask for the run meanwhile."""
    return _begin("sweep", body, body.workers)


@api.post("/api/research/searches", summary="Begin a search", responses={202: Begun})
def begin_search(body: SearchBody) -> Response:
    """Search within `bounds` (Optuna), choose and tell as a sweep does."""
    return _begin("optimize", body, body.workers)


@api.post("/api/research/walk-forwards", summary="Begin a walk-forward", responses={202: Begun})
def begin_walk_forward(body: WalkForwardBody) -> Response:
    """Choose on each window's past and trade the bars after it, all windows in one account. `ensemble` trains the models
    anew before every window."""
    return _begin("walk_forward", body, body.workers)


@api.get("/api/research/<id>/heat-map", summary="Heat map of a sweep", responses={200: HeatMap})
def heat_map(path: RecordPath) -> dict[str, Any]:
    """Each figure on the searched bars: a row for each value of `y`, a column for each of `x`; null where a combination was
    not tried. Where further parameters were varied, `best_over`, a cell tells of the set with the best Sharpe ratio."""
    found = (wire.fields(services().research.run(path.id)).get("result") or {}).get("heat_map")
    if found is None:
        raise NotFound(f"run {path.id} has no heat map: it is no sweep, or not done")
    return dict(found)


@api.get("/api/research/<id>/report.html", summary="Report of a run", responses={200: {"content": {"text/html": {}}}})
def report_page(path: RecordPath) -> Response:
    """One page that stands alone: verdict, what was chosen, equity, heat maps or windows. Conflict: it is not done, or was
    stored by a version that kept less."""
    stored, is_backtest = _stored(path.id)
    response = Response(page(stored) if is_backtest else research_page(stored), mimetype="text/html")
    response.headers["Content-Security-Policy"] = policy()
    return response


@api.get("/api/research/<id>/report.png", summary="Picture of a run", responses={200: {"content": {"image/png": {}}}})
def report_picture(path: RecordPath) -> Response:
    """Verdict, headline figures, equity and heat map as one picture. Conflict: as for the page."""
    stored, is_backtest = _stored(path.id)
    return Response(picture(stored) if is_backtest else research_picture(stored), mimetype="image/png")


@api.post("/api/research/<id>/cancel", summary="Cancel a run", responses={200: Open})
def cancel(path: RecordPath, body: EmptyBody) -> dict[str, Any]:  # noqa: ARG001 - its form is checked
    """Stop it wherever it is worked on, within seconds. What was counted stays counted."""
    return _without_result(services().research.cancel(path.id))


@api.get("/api/optimizer/results", summary="What searches found", responses={200: OptimizerResults})
def results(query: LimitQuery) -> dict[str, Any]:
    """The best parameter sets of each search, newest first. `is_best` marks the one chosen; the headline figures are those of
    the bars that chose it, `figures` has those of each part."""
    return {"results": [wire.fields(row) for row in services().research.results(query.limit)]}


def _begin(kind: str, body: ResearchRequest, workers: int) -> Response:
    if body.data is not None:
        raise InvalidInput("data: files are read by the command line alone; leave it out and stored bars are used")
    asked = body.model_dump(mode="json", exclude={"workers"})
    held = services()
    run_id = held.research.submit(kind, asked, lambda begun: held.tasks.ring_research(begun, workers))
    response = jsonify({"run_id": run_id, "status": "queued", "status_url": f"/api/research/{run_id}"})
    response.status_code = 202
    response.headers["Location"] = f"/api/research/{run_id}"
    return response


def _stored(run_id: str) -> tuple[dict[str, Any], bool]:
    """The run, or the backtest that it is kept as, and whether it is that."""
    run = services().research.run(run_id)
    backtest = services().research.backtest(run)
    return wire.fields(run if backtest is None else backtest), backtest is not None


def _without_result(row: object) -> dict[str, Any]:
    return {name: value for name, value in wire.fields(row).items() if name != "result"}
