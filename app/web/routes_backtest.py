"""Backtests."""

from __future__ import annotations

import threading
import time
from typing import Any

from flask import Response, jsonify

from app.reports.html import page, policy
from app.reports.png import picture
from app.services.backtests.comparison import compare
from app.services.backtests.request import parse_request
from app.web import wire
from app.web.acceptance import accepted
from app.web.answers import Accepted, Backtests, Comparison, Open
from app.web.blueprint import blueprint, services
from app.web.schemas import BacktestBody, BacktestsQuery, ComparisonQuery, RecordPath, utc

api = blueprint("backtest", "Simulated trading over stored bars")

LONGEST_WAIT_SECONDS = 30.0
ASK_AGAIN_SECONDS = 0.25
# Waiting callers hold a thread each; the others must keep enough of them.
_waiting_places = threading.BoundedSemaphore(2)


@api.post("/api/backtest/run", summary="Run a backtest", responses={200: Open, 202: Accepted})
def run_backtest(body: BacktestBody) -> Response:
    """Simulate trading `symbols`: the models, or a strategy on bars as they are. Answers 202 with a task id; the finished
    task's `result` holds `status` and `performance`. With `wait` true, answers 200 with that result if it is there within 30
    seconds."""
    asked = body.model_dump(mode="json", exclude_unset=True, exclude_none=True, exclude={"wait"})
    params = {"days": body.days, "initial_capital": body.initial_capital, **asked}
    params["symbols"] = list(dict.fromkeys(body.symbols))
    parse_request(params)
    task_id = services().tasks.enqueue("backtest", params)
    if body.wait and _waiting_places.acquire(blocking=False):
        try:
            result = _finished_result(task_id)
        finally:
            _waiting_places.release()
        if result is not None:
            return jsonify(result | {"task_id": task_id, "status_url": f"/api/tasks/{task_id}"})
    return accepted(task_id)


@api.get("/api/backtests/<id>", summary="One backtest", responses={200: Open})
def backtest(path: RecordPath) -> dict[str, Any]:
    """A finished backtest with its performance and benchmarks."""
    return wire.fields(services().database.backtest(path.id))


@api.get("/api/backtests", summary="Backtests", responses={200: Backtests})
def backtests(query: BacktestsQuery) -> dict[str, Any]:
    """Finished backtests, newest first, without curves and trades. For the next page ask for those before the last one's
    `created_at`."""
    rows = services().database.backtests(limit=query.limit, before=utc(query.before))
    return {"backtests": [wire.fields(row) for row in rows]}


@api.get("/api/backtests/compare", summary="Backtests side by side", responses={200: Comparison})
def comparison(query: ComparisonQuery) -> dict[str, Any]:
    """Figures and verdicts of several backtests, what differs in what was asked for, and why they may be no fair comparison."""
    ids = dict.fromkeys(query.ids.split(","))
    return wire.fields(compare([services().database.backtest(name) for name in ids]))


@api.get("/api/backtests/<id>/report.html", summary="Report of a backtest", responses={200: {"content": {"text/html": {}}}})
def report_page(path: RecordPath) -> Response:
    """One page that stands alone: verdict, figures, charts, trades, assumptions. Conflict: stored by a version whose results
    had less in them."""
    response = Response(page(wire.fields(services().database.backtest(path.id))), mimetype="text/html")
    response.headers["Content-Security-Policy"] = policy()
    return response


@api.get("/api/backtests/<id>/report.png", summary="Picture of a backtest", responses={200: {"content": {"image/png": {}}}})
def report_picture(path: RecordPath) -> Response:
    """Verdict, headline figures, equity, drawdown and months as one picture. Conflict: as for the page."""
    return Response(picture(wire.fields(services().database.backtest(path.id))), mimetype="image/png")


def _finished_result(task_id: str) -> dict[str, Any] | None:
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while time.monotonic() < deadline:
        task = wire.fields(services().database.task(task_id))
        if isinstance(task.get("result"), dict):
            return dict(task["result"])
        if task.get("error"):
            return None
        time.sleep(ASK_AGAIN_SECONDS)
    return None
