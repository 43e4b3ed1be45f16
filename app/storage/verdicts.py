"""Verdicts, and what people decided against them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from app.domain.audit import Kind
from app.domain.errors import NotFound
from app.domain.trial import settings_key
from app.domain.verdict import Check, Judged, Level, LookaheadCheck, Override, Verdict, VerdictRecord
from app.storage import audit
from app.storage.columns import plain
from app.storage.tables import LOOKAHEAD_CHECKS, VERDICT_OVERRIDES, VERDICTS

_NEWEST = VERDICTS.c.id.desc()


def add(connection: Connection, judged: Judged, *, at: datetime, backtest_id: str | None) -> None:
    """Stores a verdict."""
    connection.execute(
        insert(VERDICTS).values(
            at=at,
            settings=settings_key(judged.strategy, judged.values),
            strategy=judged.strategy,
            values=dict(judged.values),
            dataset=judged.dataset,
            backtest_id=backtest_id,
            trials=judged.trials,
            level=judged.verdict.level,
            checks=plain(judged.verdict.checks),
        )
    )


def of_backtest(connection: Connection, backtest_id: str) -> VerdictRecord:
    """The newest verdict on a backtest. Raises NotFound."""
    query = select(VERDICTS).where(VERDICTS.c.backtest_id == backtest_id).order_by(_NEWEST).limit(1)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound(f"no verdict on backtest {backtest_id}")
    return _record(row)


def newest(connection: Connection, strategy: str, values: Mapping[str, float]) -> VerdictRecord | None:
    """The newest verdict on a strategy with these parameters."""
    query = select(VERDICTS).where(VERDICTS.c.settings == settings_key(strategy, values)).order_by(_NEWEST).limit(1)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _record(row)


def listing(connection: Connection, limit: int) -> list[VerdictRecord]:
    """Newest first."""
    return [_record(row) for row in connection.execute(select(VERDICTS).order_by(_NEWEST).limit(limit)).mappings()]


def override(connection: Connection, decided: Override) -> None:
    """A person's decision against the newest verdict, or in the place of one; it ends with the next verdict."""
    before = newest(connection, decided.strategy, decided.values)
    connection.execute(
        insert(VERDICT_OVERRIDES).values(
            at=decided.at,
            settings=settings_key(decided.strategy, decided.values),
            strategy=decided.strategy,
            values=dict(decided.values),
            last_verdict=before.verdict_id if before else 0,
            actor=decided.actor,
            reason=decided.reason,
        )
    )
    told = {"overridden": before.judged.verdict.level if before else None, "verdict_id": before.verdict_id if before else None}
    audit.record(connection, Kind.OPERATOR, {**told, **plain(decided)})


def overridden(connection: Connection, strategy: str, values: Mapping[str, float]) -> Override | None:
    """The newest override, where no verdict has come since."""
    query = (
        select(VERDICT_OVERRIDES)
        .where(VERDICT_OVERRIDES.c.settings == settings_key(strategy, values))
        .order_by(VERDICT_OVERRIDES.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).mappings().one_or_none()
    verdict = newest(connection, strategy, values)
    if row is None or (verdict is not None and verdict.verdict_id > row["last_verdict"]):
        return None
    return Override(**{name: row[name] for name in ("at", "strategy", "values", "actor", "reason")})


def keep_check(connection: Connection, check: LookaheadCheck) -> None:
    """Stores a check; a person's word stands in the audit log too."""
    connection.execute(insert(LOOKAHEAD_CHECKS).values(**plain(check) | {"at": check.at}))
    if check.actor:
        audit.record(connection, Kind.OPERATOR, {"overridden": "lookahead", **plain(check)})


def newest_check(connection: Connection, subject: str, content: str) -> LookaheadCheck | None:
    """The newest check of a subject as it is."""
    table = LOOKAHEAD_CHECKS.c
    query = select(LOOKAHEAD_CHECKS).where(table.content == content, table.subject == subject)
    row = connection.execute(query.order_by(table.id.desc()).limit(1)).mappings().one_or_none()
    return None if row is None else LookaheadCheck(**{one.name: row[one.name] for one in fields(LookaheadCheck)})


def first_check_at(connection: Connection, subject: str, content: str) -> datetime | None:
    """When a subject was first looked at as it is."""
    table = LOOKAHEAD_CHECKS.c
    query = select(table.at).where(table.content == content, table.subject == subject).order_by(table.id).limit(1)
    return connection.execute(query).scalar_one_or_none()


def _record(row: Any) -> VerdictRecord:
    checks = tuple(Check(**{**check, "level": Level(check["level"])}) for check in row["checks"])
    judged = Judged(verdict=Verdict(checks=checks), **{name: row[name] for name in ("strategy", "values", "dataset", "trials")})
    return VerdictRecord(verdict_id=row["id"], at=row["at"], backtest_id=row["backtest_id"], judged=judged)
