"""Our books beside the venue's."""

from __future__ import annotations

from typing import Any

from app.domain.errors import NotFound
from app.web.answers import Reconciliation
from app.web.blueprint import blueprint, services
from app.web.wire import fields

api = blueprint("reconciliation", "Our books beside the venue's")


@api.get("/api/reconciliation", summary="Last reconciliation", responses={200: Reconciliation})
def reconciliation() -> dict[str, Any]:
    """What the last comparison with the venue took over and what it could not explain; 404 before the first."""
    last = next(iter(services().database.reconciliations(1)), None)
    if last is None:
        raise NotFound("the books have not been compared with the venue yet", code="not_reconciled")
    answer = fields(last)
    return {name: value for name, value in answer.items() if name != "id"} | {"agrees": not answer["unexplained"]}
