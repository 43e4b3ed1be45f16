"""Whether the process lives, and whether the system can do its work. Open to everybody, so they tell little."""

from __future__ import annotations

from typing import Any

from flask import current_app

from app import __version__
from app.web.answers import Alive, Ready
from app.web.blueprint import blueprint, services
from app.web.errors import NotReady
from app.web.readiness import Readiness

api = blueprint("health", "Liveness and readiness", public=True)


@api.get("/api/health", summary="Liveness", responses={200: Alive})
def alive() -> dict[str, Any]:
    """Answers as long as this process can."""
    return {"status": "ok", "version": __version__}


@api.get("/api/ready", summary="Readiness", responses={200: Ready})
def ready() -> dict[str, Any]:
    """Database, broker and venue reachable, and trading cycles not overdue; else 503 with the fault in `details`."""
    readiness: Readiness = current_app.extensions["readiness"]
    report = readiness.report(services())
    if report["status"] != "ok":
        faults = [name for name, state in report["components"].items() if state != "ok"]
        raise NotReady(f"not ready: {', '.join(faults)}", **report)
    return report
