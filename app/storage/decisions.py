"""Decisions: why each symbol was or was not traded, one row per symbol and cycle."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from app.domain.audit import Kind
from app.domain.records import Committed, DecisionRecord
from app.engine.decision import Decision, SymbolRecord
from app.risk.reservations import Capacity
from app.storage import audit, cycles, outbox, position_plans, reservations, risk_states
from app.storage.columns import plain
from app.storage.tables import DECISIONS


def record(
    connection: Connection,
    cycle_id: str,
    decision: Decision,
    *,
    inputs: Mapping[str, Any],
    capacity: Capacity,
    orders_expire_at: datetime,
) -> Committed:
    """Everything a decision leaves behind; see `DatabaseService.record_decision`."""
    at = decision.decided_at
    cycles.require_running(connection, cycle_id)
    cycles.store_inputs(connection, cycle_id, decided_at=at, inputs=inputs)
    audit.record(connection, Kind.DECIDED, _told(decision), at=at, cycle_id=cycle_id)
    risk_states.accept_decided(connection, decision.risk, at=at)
    committed = reservations.commit(
        connection,
        decision.orders,
        capacity,
        releasing=decision.cancels,
        cycle_id=cycle_id,
        source=None,
        expires_at=orders_expire_at,
        at=at,
    )
    position_plans.save(connection, decision.plans, at=at)
    refused = {one.order.symbol: committed.refusals.get(one.order.client_order_id) for one in decision.orders}
    rows = [_row(cycle_id, at, symbol_record, refused.get(symbol_record.symbol)) for symbol_record in decision.records]
    if rows:
        connection.execute(insert(DECISIONS), rows)
    for alert in decision.alerts:
        outbox.enqueue(connection, "alert", alert, {"cycle_id": cycle_id}, at)
    return committed


def listing(
    connection: Connection, *, symbol: str | None, cycle_id: str | None, limit: int, before: datetime | None
) -> list[DecisionRecord]:
    """Newest first; `before`: only decisions made earlier than that, for paging."""
    query = select(DECISIONS).order_by(DECISIONS.c.decided_at.desc(), DECISIONS.c.cycle_id, DECISIONS.c.symbol).limit(limit)
    if symbol is not None:
        query = query.where(DECISIONS.c.symbol == symbol)
    if cycle_id is not None:
        query = query.where(DECISIONS.c.cycle_id == cycle_id)
    if before is not None:
        query = query.where(DECISIONS.c.decided_at < before)
    return [DecisionRecord(**row) for row in connection.execute(query).mappings()]


def _told(decision: Decision) -> dict[str, object]:
    """The decision as the audit log keeps it: every symbol, in one event."""
    return {
        "records": {
            one.symbol: {
                "reason": one.reason.code,
                "side": one.side,
                "quantity": one.quantity,
                "held": one.held_quantity,
                "price": plain(one.price),
                "expected_return": plain(one.expected_return),
                "confidence": plain(one.confidence),
                "volatility": plain(one.volatility),
                "sizing": {bound: plain(units) for bound, units in one.sizing.items()},
                "sizing_bound": one.sizing_bound,
                "detail": one.detail,
            }
            for one in decision.records
        },
        "orders": [one.order.client_order_id for one in decision.orders],
        "cancels": decision.cancels,
        "alerts": decision.alerts,
        "risk_epoch": decision.risk.epoch,
    }


def _row(cycle_id: str, decided_at: datetime, record: SymbolRecord, refusal: str | None) -> dict[str, object]:
    detail = record.detail if refusal is None else f"{record.detail} Refused at the commit: {refusal}".strip()
    return {
        "cycle_id": cycle_id,
        "symbol": record.symbol,
        "decided_at": decided_at,
        "reason": record.reason.code,
        "side": record.side,
        "quantity": record.quantity,
        "held_quantity": record.held_quantity,
        "price": plain(record.price),
        "expected_return": plain(record.expected_return),
        "confidence": plain(record.confidence),
        "volatility": plain(record.volatility),
        "members": record.members,
        "sizing": record.sizing,
        "sizing_bound": record.sizing_bound,
        "detail": detail,
    }
