"""How orders came about, from the audit log."""

from __future__ import annotations

from typing import Any

from app.web import wire
from app.web.answers import AuditStory
from app.web.blueprint import blueprint, services
from app.web.schemas import OrderPath

api = blueprint("audit", "Proof of what was done")


@api.get("/api/audit/orders/<path:order>", summary="Story of an order", responses={200: AuditStory})
def explain(path: OrderPath) -> dict[str, Any]:
    """What was seen, decided, checked, sent, answered and filled, from the hash-chained log alone. order: our id or the
    venue's; legs and orders placed by a person have a story too."""
    return wire.fields(services().audit.explain(path.order))
