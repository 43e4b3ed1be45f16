"""Finished backtests."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, select

from app.domain.errors import NotFound
from app.domain.records import BacktestRecord
from app.storage.tables import BACKTESTS

_SUMMARY = [column for column in BACKTESTS.c if column.name != "result"]


def add(connection: Connection, backtest: BacktestRecord) -> None:
    """Stores a backtest; one of that id that is there already stays as it is."""
    known = select(BACKTESTS.c.backtest_id).where(BACKTESTS.c.backtest_id == backtest.backtest_id)
    if connection.execute(known).first() is not None:
        return
    connection.execute(
        insert(BACKTESTS).values(
            backtest_id=backtest.backtest_id,
            created_at=backtest.created_at,
            params=backtest.params,
            performance=backtest.performance,
            result=backtest.result or {},
        )
    )


def one(connection: Connection, backtest_id: str) -> BacktestRecord:
    """A backtest with its curves and trades. Raises NotFound."""
    row = connection.execute(select(BACKTESTS).where(BACKTESTS.c.backtest_id == backtest_id)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"no backtest {backtest_id}")
    return BacktestRecord(**row)


def listing(connection: Connection, limit: int, before: datetime | None = None) -> list[BacktestRecord]:
    """Without curves and trades, newest first. before: only those made earlier."""
    query = select(*_SUMMARY).order_by(BACKTESTS.c.created_at.desc(), BACKTESTS.c.backtest_id).limit(limit)
    if before is not None:
        query = query.where(BACKTESTS.c.created_at < before)
    return [BacktestRecord(**row) for row in connection.execute(query).mappings()]
