"""Taking on long work: 202 with a task id, and where to ask for its state."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify

from app.web.blueprint import services


def accept(kind: str, params: dict[str, Any], *, key: str | None = None) -> Response:
    """Queue a task of `kind` and answer 202. key: of the caller's; asking twice under one key is asking once.
    Conflict: queue full. TryAgain: broker unreachable."""
    return accepted(services().tasks.enqueue(kind, params, key=key))


def accepted(task_id: str) -> Response:
    """The 202 answer for a queued task."""
    status_url = f"/api/tasks/{task_id}"
    response = jsonify({"task_id": task_id, "status": "queued", "status_url": status_url})
    response.status_code = 202
    response.headers["Location"] = status_url
    return response
