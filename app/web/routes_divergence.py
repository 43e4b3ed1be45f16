"""Live beside backtest."""

from __future__ import annotations

from typing import Any

from app.domain.errors import NotFound
from app.web.answers import DivergenceAnswer
from app.web.blueprint import blueprint, services
from app.web.wire import fields

KIND = "divergence"
_LOOKED_THROUGH = 20

api = blueprint("divergence", "Live beside backtest")


@api.get("/api/divergence", summary="Last comparison of live with the backtest", responses={200: DivergenceAnswer})
def divergence() -> dict[str, Any]:
    """The newest period that was decided and matched again: decisions that differ, and the money each cause is responsible
    for; 404 before the first."""
    for record in map(fields, services().database.tasks(_LOOKED_THROUGH, kind=KIND)):
        result = record["result"]
        if isinstance(result, dict) and "gap" in result:
            return {**result, "compared_at": record.get("finished_at")}
    raise NotFound("live has not been compared with the backtest yet; that happens every night", code="not_compared")
