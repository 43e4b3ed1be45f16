"""How each holding is going to be left: what its exits remember and the levels that follow, one row per holding.

Written with the decision that made them, in its transaction. That a partial exit was taken is no memory of ours but read off
the executions booked, so that no order of reports can lose it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, select, update

from app.domain.exits import PositionPlan, Progress, partial_taken, rebased, standing
from app.domain.instrument import Instrument
from app.domain.reason import Reason
from app.storage import portfolio
from app.storage.tables import FILLS, INTENTS, POSITION_PLANS, VENUE_ORDER_IDS

_LEVELS = ("stop", "target", "partial")


def save(connection: Connection, plans: Mapping[str, PositionPlan], *, at: datetime) -> None:
    """Puts these plans in the place of all others."""
    connection.execute(delete(POSITION_PLANS))
    if plans:
        connection.execute(insert(POSITION_PLANS), [_row(plan, at) for plan in plans.values()])


def load(connection: Connection) -> dict[str, PositionPlan]:
    """The plans of what is held now, by symbol; those of holdings that are gone, or were opened anew, are left out."""
    plans = {row["symbol"]: _plan(row) for row in connection.execute(select(POSITION_PLANS)).mappings()}
    if not plans or portfolio.account(connection) is None:
        return {}
    held = portfolio.load(connection).positions
    taken = _partial_exits(connection)
    found = {}
    for symbol, plan in standing(plans, held).items():
        since = held[symbol].opened_at or plan.opened_at
        sold = taken.get(symbol)
        found[symbol] = partial_taken(plan) if sold is not None and (since is None or sold >= since) else plan
    return found


def rebase(connection: Connection, symbol: str, ratio: Decimal) -> None:
    """Brings a plan over a split, `ratio` new units for each old one. No plan: nothing to do."""
    row = connection.execute(select(POSITION_PLANS).where(POSITION_PLANS.c.symbol == symbol)).mappings().one_or_none()
    if row is None:
        return
    plan, instrument = _plan(row), Instrument(symbol=symbol)
    moved = replace(
        plan,
        progress=rebased(plan.progress, float(ratio)),
        stop=None if plan.stop is None else instrument.price_down(plan.stop / ratio),
        target=None if plan.target is None else instrument.price_up(plan.target / ratio),
        partial=None if plan.partial is None else instrument.price_up(plan.partial / ratio),
    )
    connection.execute(update(POSITION_PLANS).where(POSITION_PLANS.c.symbol == symbol).values(**_row(moved, row["updated_at"])))


def _row(plan: PositionPlan, at: datetime) -> dict[str, object]:
    levels = {f"{name}_price": getattr(plan, name) for name in _LEVELS}
    return {"symbol": plan.symbol, "opened_at": plan.opened_at, "updated_at": at, **plan.progress._asdict(), **levels}


def _plan(row: Mapping[Any, Any]) -> PositionPlan:
    values = {name: row[f"{name}_price"] for name in _LEVELS}
    progress = Progress(*(row[name] for name in Progress._fields))
    return PositionPlan(symbol=row["symbol"], opened_at=row["opened_at"], progress=progress, **values)


def _partial_exits(connection: Connection) -> dict[str, datetime]:
    """When a partial exit last had an execution, by symbol."""
    known_as = VENUE_ORDER_IDS.c
    orders = and_(INTENTS.c.client_order_id == known_as.client_order_id, INTENTS.c.reason == Reason.PARTIAL_PROFIT.code)
    query = (
        select(INTENTS.c.symbol, func.max(FILLS.c.filled_at))
        .join(VENUE_ORDER_IDS, orders)
        .join(FILLS, FILLS.c.venue_order_id == known_as.venue_order_id)
        .group_by(INTENTS.c.symbol)
    )
    return {symbol: at for symbol, at in connection.execute(query)}  # noqa: C416 - rows, not pairs
