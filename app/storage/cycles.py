"""Trading cycles: one row per cycle id, at most one cycle running, and the fence against workers that died or stalled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Text, insert, select, type_coerce, update

from app.domain.audit import Kind, digest
from app.domain.errors import Conflict, NotFound
from app.domain.records import ClaimOutcome, CycleRecord, CycleState, EquityPoint
from app.storage import audit, intents
from app.storage.tables import CYCLES, EQUITY_CURVE

# Everything but what a decision saw: that is large and wanted for one cycle at a time.
DONE_OUTCOMES = ("completed", "market_closed")
_SUMMARY = [column for column in CYCLES.c if column.name != "inputs"]


def claim(
    connection: Connection,
    cycle_id: str,
    *,
    slot: datetime,
    started_at: datetime,
    owner: str,
    trigger: str,
    is_alive: Callable[[str], bool],
    stale_after_seconds: float,
) -> ClaimOutcome:
    """Takes the right to run a cycle; see `DatabaseService.claim_cycle`."""
    same = connection.execute(select(CYCLES.c.state).where(CYCLES.c.cycle_id == cycle_id)).scalar_one_or_none()
    if same is not None and same is not CycleState.RUNNING:
        return ClaimOutcome.ALREADY_DONE
    running = connection.execute(
        select(CYCLES.c.cycle_id, CYCLES.c.owner, CYCLES.c.started_at).where(CYCLES.c.state == CycleState.RUNNING)
    ).all()
    for other in running:
        fresh = (started_at - other.started_at).total_seconds() < stale_after_seconds
        if fresh and is_alive(other.owner):
            return ClaimOutcome.ALREADY_RUNNING if other.cycle_id == cycle_id else ClaimOutcome.OVERLAP
    for other in running:
        abandon(connection, other.cycle_id, at=started_at)
    if same is not None:
        return ClaimOutcome.ALREADY_DONE
    connection.execute(
        insert(CYCLES).values(
            cycle_id=cycle_id,
            slot=slot,
            state=CycleState.RUNNING,
            trigger=trigger,
            owner=owner,
            started_at=started_at,
            detail="",
            timings={},
        )
    )
    audit.record(connection, Kind.STARTED, {"owner": owner, "trigger": trigger}, at=slot, cycle_id=cycle_id)
    return ClaimOutcome.CLAIMED


def abandon(connection: Connection, cycle_id: str, *, at: datetime) -> None:
    """Ends a cycle whose worker is gone: none of its unsent orders can be claimed any more."""
    detail = "The worker died or stalled; its unsent orders expired."
    connection.execute(
        update(CYCLES)
        .where(CYCLES.c.cycle_id == cycle_id)
        .values(state=CycleState.ABANDONED, outcome="abandoned", finished_at=at, detail=detail)
    )
    audit.record(connection, Kind.ENDED, {"outcome": "abandoned", "detail": detail}, cycle_id=cycle_id)
    intents.expire_ready(connection, of_cycle=cycle_id, at=at)


def require_running(connection: Connection, cycle_id: str) -> None:
    """Raises NotFound for an unknown cycle and Conflict for one that is over."""
    state = connection.execute(select(CYCLES.c.state).where(CYCLES.c.cycle_id == cycle_id)).scalar_one_or_none()
    if state is None:
        raise NotFound(f"no cycle {cycle_id}")
    if state is not CycleState.RUNNING:
        raise Conflict(f"cycle {cycle_id} is {state}", code="cycle_not_running")


def store_inputs(connection: Connection, cycle_id: str, *, decided_at: datetime, inputs: Mapping[str, Any]) -> None:
    """Notes that the cycle has decided, and on what. Raises Conflict the second time."""
    change = update(CYCLES).where(CYCLES.c.cycle_id == cycle_id, CYCLES.c.decided_at.is_(None))
    if connection.execute(change.values(decided_at=decided_at, inputs=dict(inputs))).rowcount != 1:
        raise Conflict(f"cycle {cycle_id} has decided already", code="already_decided")
    stored = connection.execute(select(type_coerce(CYCLES.c.inputs, Text)).where(CYCLES.c.cycle_id == cycle_id)).scalar_one()
    audit.record(connection, Kind.SEEN, {"inputs": digest(stored.encode())}, at=decided_at, cycle_id=cycle_id)


def finish(
    connection: Connection,
    cycle_id: str,
    *,
    outcome: str,
    detail: str,
    finished_at: datetime,
    timings: Mapping[str, float],
    equity: EquityPoint | None,
) -> None:
    """Closes a running cycle; what it left unsent expires with it."""
    require_running(connection, cycle_id)
    connection.execute(
        update(CYCLES)
        .where(CYCLES.c.cycle_id == cycle_id)
        .values(state=CycleState.DONE, outcome=outcome, detail=detail, finished_at=finished_at, timings=dict(timings))
    )
    ended = {"outcome": outcome, "detail": detail, "equity": equity}
    audit.record(connection, Kind.ENDED, ended, at=equity.at if equity else None, cycle_id=cycle_id)
    intents.expire_ready(connection, of_cycle=cycle_id, at=finished_at)
    if equity is not None:
        connection.execute(
            insert(EQUITY_CURVE).values(
                cycle_id=cycle_id,
                at=equity.at,
                cash=equity.cash,
                positions_value=equity.positions_value,
                equity=equity.equity,
                venue_equity=equity.venue_equity,
            )
        )


def listing(connection: Connection, limit: int) -> list[CycleRecord]:
    """Cycles without their inputs, the last started first."""
    rows = connection.execute(select(*_SUMMARY).order_by(CYCLES.c.started_at.desc(), CYCLES.c.slot.desc()).limit(limit))
    return [CycleRecord(**row) for row in rows.mappings()]


def newest_slot_done(connection: Connection) -> datetime | None:
    """Slot of the newest cycle that ended as it should; see `DatabaseService.newest_slot_done`."""
    query = select(CYCLES.c.slot).where(CYCLES.c.outcome.in_(DONE_OUTCOMES)).order_by(CYCLES.c.slot.desc()).limit(1)
    return connection.execute(query).scalar_one_or_none()


def one(connection: Connection, cycle_id: str) -> CycleRecord:
    """A cycle with its inputs. Raises NotFound."""
    row = connection.execute(select(CYCLES).where(CYCLES.c.cycle_id == cycle_id)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"no cycle {cycle_id}")
    return CycleRecord(**row)


def equity_curve(connection: Connection, *, since: datetime | None, limit: int | None) -> list[EquityPoint]:
    """Points at or after `since`, oldest first; at most the newest `limit`."""
    columns = [column for column in EQUITY_CURVE.c if column.name != "cycle_id"]
    query = select(*columns).order_by(EQUITY_CURVE.c.at.desc()).limit(limit)
    if since is not None:
        query = query.where(EQUITY_CURVE.c.at >= since)
    return [EquityPoint(**row) for row in reversed(connection.execute(query).mappings().all())]
