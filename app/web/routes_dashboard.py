"""Everything a dashboard shows, in one answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from app.domain.errors import AlphaTraderError
from app.web import wire
from app.web.answers import Dashboard
from app.web.blueprint import blueprint, services
from app.web.ports import Services
from app.web.routes_account import priced_positions

api = blueprint("dashboard", "Everything at once")
log = structlog.get_logger(__name__)

NEWEST_ROWS = 50


@api.get("/api/dashboard/all_data", summary="Dashboard", responses={200: Dashboard})
def all_data() -> dict[str, Any]:
    """Each part on its own: a venue that does not answer leaves the parts read from the database readable."""
    source = services()
    answer: dict[str, Any] = {"mode": source.settings.trading_mode.value}
    faults: dict[str, Any] = {}
    for name, read in _parts(source).items():
        try:
            answer[name] = read()
        except AlphaTraderError as error:
            answer[name] = None
            faults[name] = {"code": error.code, "message": error.message}
            log.warning("dashboard_part_missing", part=name, code=error.code, error=error.message)
    return answer | {"faults": faults}


def _parts(source: Services) -> dict[str, Callable[[], Any]]:
    database = source.database
    return {
        "account": lambda: wire.fields(source.alpaca.account()),
        "positions": lambda: priced_positions(source),
        "portfolio": lambda: wire.fields(source.trading.portfolio_view()),
        "protection": lambda: wire.fields(source.protection.status()),
        "risk": lambda: wire.fields(source.risk.status()),
        "latest_cycle": lambda: wire.to_wire(database.latest_cycle()),
        "decisions": lambda: [wire.decision(row) for row in _latest_decisions(source)],
        "orders": lambda: _records(database.orders(limit=NEWEST_ROWS)),
        "fills": lambda: [wire.fill(row) for row in database.fills(limit=NEWEST_ROWS)],
        "equity": lambda: _records(database.equity_curve(limit=500)),
        "models": lambda: _records(source.ai.status()),
        "tasks": lambda: _records(database.tasks(20)),
    }


def _latest_decisions(source: Services) -> Any:
    # Of the newest cycle that has decided: the one under way, or one outside the session, has nothing to show.
    newest = source.database.decisions(limit=1)
    return source.database.decisions(cycle_id=getattr(newest[0], "cycle_id", None), limit=1000) if newest else []


def _records(rows: Any) -> list[dict[str, Any]]:
    return [wire.fields(row) for row in rows]
