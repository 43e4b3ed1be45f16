"""The trading state, and a person's hand on it."""

from __future__ import annotations

from typing import Any

from app.web import wire
from app.web.answers import Killed, RiskStatus
from app.web.auth import current_user
from app.web.blueprint import blueprint, services
from app.web.schemas import EmptyBody, EnableBody, KillBody, ResumeBody

api = blueprint("risk", "Trading state and limits")


@api.get("/api/risk/status", summary="Risk status", responses={200: RiskStatus})
def risk_status() -> dict[str, Any]:
    """Trading state with its cause, every limit with the distance to it, and how holdings are left."""
    return wire.fields({**services().risk.status(), "exits": services().policy.exits._asdict()})


@api.post("/api/risk/halt", summary="Halt trading", responses={200: RiskStatus})
def halt(body: EmptyBody) -> dict[str, Any]:  # noqa: ARG001 - its presence refuses unexpected fields
    """Send nothing new until a person resumes. Repeating it changes nothing."""
    services().risk.halt(current_user())
    return wire.fields(services().risk.status())


@api.post("/api/risk/resume", summary="Resume trading", responses={200: RiskStatus})
def resume(body: ResumeBody) -> dict[str, Any]:
    """Trade again; 409 while a limit forbids it. After the kill switch a reason is asked for."""
    services().risk.resume(current_user(), body.reason, accept_losses=body.accept_losses)
    return wire.fields(services().risk.status())


@api.post("/api/risk/kill", summary="Kill switch", responses={200: Killed})
def kill(body: KillBody) -> dict[str, Any]:
    """No order takes on risk any more, within seconds and over restarts; resting entries are cancelled, protective exits
    stay. Needs neither the queue nor a database that answers. Only POST /api/risk/resume with a reason ends it."""
    return wire.fields(services().kill.engage(current_user(), body.reason))


@api.post("/api/risk/enable", summary="Enable a symbol", responses={200: RiskStatus})
def enable(body: EnableBody) -> dict[str, Any]:
    """Allow entries in a symbol that was disabled for too many of them; 409 when it is not disabled."""
    services().risk.enable(body.symbol, current_user(), body.reason)
    return wire.fields(services().risk.status())
