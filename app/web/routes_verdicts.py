"""What the evidence says of a backtest."""

from __future__ import annotations

from typing import Any

from app.web.answers import VerdictAnswer
from app.web.blueprint import blueprint, services
from app.web.schemas import RecordPath
from app.web.wire import fields

api = blueprint("verdict", "Whether a result is more than luck")


@api.get("/api/backtests/<id>/verdict", summary="Verdict on a backtest", responses={200: VerdictAnswer})
def verdict(path: RecordPath) -> dict[str, Any]:
    """PASS, WARN or FAIL with every check behind it, and how many configurations were counted against the result."""
    return fields(services().verdicts.of_backtest(path.id))
