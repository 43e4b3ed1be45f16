"""Who enforces the exits of each holding, and what happens while the system is down."""

from __future__ import annotations

from typing import Any

from app.web.answers import ProtectionAnswer
from app.web.blueprint import blueprint, services
from app.web.wire import fields

api = blueprint("protection", "Protection of the holdings")


@api.get("/api/positions/protection", summary="Protection of the holdings", responses={200: ProtectionAnswer})
def protection() -> dict[str, Any]:
    """Stops resting at the venue, watched by the exit monitor, or nobody and why. Read from the ledger: it answers while the
    venue does not."""
    return fields(services().protection.status())
