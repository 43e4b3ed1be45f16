"""The risk state: one row, replaced only by a newer epoch, and the history of its changes."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, insert, select, update

from app.domain.audit import Kind
from app.domain.errors import Conflict
from app.domain.records import RiskEvent
from app.domain.trading_state import Cause, RiskState, TradingState
from app.runtime.failpoint import reach
from app.storage import audit
from app.storage.columns import plain
from app.storage.tables import RISK_EVENTS, RISK_STATE

_ONE = 1
SYSTEM = "system"


def current(connection: Connection) -> RiskState | None:
    """The state in force, None before the first."""
    row = connection.execute(select(RISK_STATE).where(RISK_STATE.c.id == _ONE)).mappings().one_or_none()
    if row is None:
        return None
    values = {name: value for name, value in row.items() if name != "id"}
    words = {"trading_state": TradingState[row["trading_state"]], "disabled_symbols": tuple(row["disabled_symbols"].split())}
    return RiskState(**{**values, **words})


def save(
    connection: Connection,
    state: RiskState,
    *,
    at: datetime,
    cause: str,
    actor: str,
    detail: str,
    based_on_epoch: int | None,
) -> None:
    """Puts `state` in force and writes the history. Its epoch must be greater than the present one and, where
    `based_on_epoch` is given, that must be the present one; else Conflict: someone else changed the state meanwhile."""
    before = current(connection)
    present = before.epoch if before else None
    if present is not None and (state.epoch <= present or based_on_epoch not in (None, present)):
        raise Conflict(
            f"the risk state changed meanwhile: epoch {present} is in force, {state.epoch} was to follow {based_on_epoch}",
            code="risk_epoch",
        )
    values = _values(state)
    if before is None:
        connection.execute(insert(RISK_STATE).values(id=_ONE, **values))
    else:
        connection.execute(update(RISK_STATE).where(RISK_STATE.c.id == _ONE).values(**values))
    reach("in_risk_save")
    connection.execute(
        insert(RISK_EVENTS).values(
            epoch=state.epoch,
            at=at,
            trading_state=state.trading_state.name,
            previous_state=before.trading_state.name if before else None,
            cause=cause,
            actor=actor,
            detail=detail,
            state=plain(values),
        )
    )
    told = {"previous": before.trading_state.name if before else None, "cause": cause, "actor": actor, "detail": detail}
    audit.record(connection, Kind.RISK_CHANGED if actor == SYSTEM else Kind.OPERATOR, {**told, "risk": values})


def accept_decided(connection: Connection, state: RiskState, *, at: datetime) -> None:
    """The state a decision ends with: the very state in force, or the one that follows it (epoch one higher), which is
    saved; else Conflict: the decision was made under a state that no longer holds."""
    before = current(connection)
    if before is None or state.epoch == before.epoch + 1:
        save(connection, state, at=at, cause=state.cause, actor=state.actor, detail="", based_on_epoch=None)
    elif state != before:
        raise Conflict(
            f"the decision was made under risk epoch {state.epoch}, but {before.epoch} ({before.cause}) is in force",
            code="risk_epoch",
        )


def move_by_transfer(connection: Connection, amount: Decimal, *, at: datetime) -> None:
    """A deposit (or a withdrawal, below zero) is neither gain nor loss: baseline and peak move with it. One that leaves no
    baseline halts trading: a person must look at the account."""
    before = current(connection)
    if before is None:
        return
    baseline, peak = before.baseline_equity + amount, before.high_water_equity + amount
    if not (baseline > 0 and peak > 0):
        halt(connection, Cause.EQUITY_UNRELIABLE, f"a transfer of {amount} leaves no baseline", at=at)
        return
    doubted = None if before.doubted_equity is None else max(before.doubted_equity + amount, Decimal(0))
    state = replace(before, baseline_equity=baseline, high_water_equity=peak, doubted_equity=doubted, epoch=before.epoch + 1)
    detail = f"transfer of {amount}"
    save(connection, state, at=at, cause=state.cause, actor="system", detail=detail, based_on_epoch=before.epoch)


def halt(connection: Connection, cause: Cause, detail: str, *, at: datetime) -> None:
    """At least HALTED, until a person resumes; nothing where there is no state yet."""
    before = current(connection)
    if before is None or before.trading_state >= TradingState.HALTED:
        return
    state = replace(
        before,
        trading_state=TradingState.HALTED,
        cause=cause.code,
        actor="system",
        since=at,
        until=None,
        suspected_at=None,
        epoch=before.epoch + 1,
    )
    save(connection, state, at=at, cause=cause.code, actor="system", detail=detail, based_on_epoch=before.epoch)


def history(connection: Connection, limit: int) -> list[RiskEvent]:
    """Changes, newest first."""
    rows = connection.execute(select(RISK_EVENTS).order_by(RISK_EVENTS.c.epoch.desc()).limit(limit)).mappings()
    return [RiskEvent(**row) for row in rows]


def _values(state: RiskState) -> dict[str, Any]:
    values = {item.name: getattr(state, item.name) for item in fields(state)}
    return {**values, "trading_state": state.trading_state.name, "disabled_symbols": " ".join(state.disabled_symbols)}
