"""The trading state, and a person's hand on it."""

from __future__ import annotations

from typing import Any

from app.web import wire
from app.web.answers import RiskStatus
from app.web.auth import current_user
from app.web.blueprint import blueprint, services
from app.web.schemas import EmptyBody

api = blueprint("risk", "Trading state and limits")


@api.get("/api/risk/status", summary="Risk status", responses={200: RiskStatus})
def risk_status() -> dict[str, Any]:
    """Trading state with its cause, and every limit with the distance to it."""
    return wire.fields(services().risk.status())


@api.post("/api/risk/halt", summary="Halt trading", responses={200: RiskStatus})
def halt(body: EmptyBody) -> dict[str, Any]:  # noqa: ARG001 - its presence refuses unexpected fields
    """Send nothing new until a person resumes. Repeating it changes nothing."""
    services().risk.halt(current_user())
    return wire.fields(services().risk.status())


@api.post("/api/risk/resume", summary="Resume trading", responses={200: RiskStatus})
def resume(body: EmptyBody) -> dict[str, Any]:  # noqa: ARG001 - its presence refuses unexpected fields
    """Trade again; 409 while a limit forbids it."""
    services().risk.resume(current_user())
    return wire.fields(services().risk.status())
