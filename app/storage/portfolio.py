"""Cash and positions: the stored result of folding what happened since the account was opened.

The fold runs in the order of things (`fill_key`), not in the order of reports. A fill that comes last is added to the
stored result; one that surfaces late makes the whole fold run again, so the result never depends on who told us when.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import structlog
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from app.domain.activity import Activity
from app.domain.audit import Kind
from app.domain.errors import Conflict
from app.domain.order import Fill
from app.domain.portfolio import Portfolio, Position, apply_activity, apply_fill
from app.domain.records import AccountRecord
from app.storage import audit
from app.storage.tables import ACCOUNT, ADOPTIONS, CASH_ENTRIES, FILLS, POSITIONS

_log = structlog.get_logger()
_ONE = 1


def fill_key(fill: Fill) -> tuple[datetime, str]:
    """The order of things: by time, and by the venue's id within one instant."""
    return fill.filled_at, fill.execution_id


def account(connection: Connection) -> AccountRecord | None:
    """The account this database keeps, None before it is opened."""
    columns = ACCOUNT.c.account_id, ACCOUNT.c.opened_at, ACCOUNT.c.opening_cash, ACCOUNT.c.had_past
    row = connection.execute(select(*columns)).mappings().one_or_none()
    return None if row is None else AccountRecord(**row)


def fills_listed_at(connection: Connection) -> datetime | None:
    """Venue time of the last full listing of executions that was booked."""
    at: datetime | None = connection.execute(select(ACCOUNT.c.fills_listed_at)).scalar_one_or_none()
    return at


def note_listing(connection: Connection, at: datetime) -> None:
    """The venue was asked at `at` for every execution so far, and what it told is booked in this transaction."""
    before = fills_listed_at(connection)
    if before is None or at > before:
        connection.execute(update(ACCOUNT).values(fills_listed_at=at))


def open_account(connection: Connection, account_id: str, cash: Decimal, at: datetime, *, had_past: bool = False) -> bool:
    """Starts the books; false if they are open already. Raises Conflict for another account than the one kept."""
    present = account(connection)
    if present is not None:
        if present.account_id != account_id:
            raise Conflict(
                f"this database keeps account {present.account_id}, the venue shows {account_id}: use another DATABASE_URL",
                code="other_account",
            )
        return False
    opening = {"account_id": account_id, "opened_at": at, "opening_cash": cash, "cash": cash, "realized": Decimal(0)}
    connection.execute(insert(ACCOUNT).values(id=_ONE, had_past=had_past, **opening))
    audit.record(connection, Kind.STARTED, {"account": opening}, at=at)
    audit.record(connection, Kind.BOOKED, {"book": Portfolio(cash=cash)}, at=at)
    return True


def adopt(connection: Connection, positions: Iterable[Position], at: datetime) -> None:
    """Sets holdings as they stood at `at`, without touching cash; a quantity of zero removes one."""
    opened = _require_account(connection)
    rows = [
        {
            "at": max(at, opened.opened_at),
            "symbol": position.symbol,
            "quantity": position.quantity,
            "average_entry_price": position.average_entry_price,
            "opened_at": position.opened_at,
        }
        for position in positions
    ]
    if rows:
        connection.execute(insert(ADOPTIONS), rows)
        audit.record(connection, Kind.RECONCILED, {"adopted": rows}, at=at)
        _store(connection, _replay(connection, opened, _booked(connection)))


def refold(connection: Connection) -> tuple[Portfolio, Portfolio]:
    """Cash and positions before and after the whole fold has run again."""
    before = load(connection)
    after = _replay(connection, _require_account(connection), _booked(connection))
    _store(connection, after)
    return before, after


def load(connection: Connection) -> Portfolio:
    """Cash and positions as of the newest booked fill. Raises Conflict before the account is opened."""
    _require_account(connection)
    cash, realized = connection.execute(select(ACCOUNT.c.cash, ACCOUNT.c.realized)).one()
    rows = connection.execute(select(POSITIONS).order_by(POSITIONS.c.symbol)).mappings()
    return Portfolio(cash=cash, realized=realized, positions={row["symbol"]: Position(**row) for row in rows})


def fold(connection: Connection, new: Sequence[Fill]) -> None:
    """Moves cash and positions by fills not booked yet, given in the order of things."""
    opened = _require_account(connection)
    early = sum(fill.filled_at < opened.opened_at for fill in new)
    if early:
        # The opening cash and the adopted positions hold these already.
        _log.info("fills_before_opening", account_id=opened.account_id, opened_at=opened.opened_at, fills=early)
    if _comes_last(connection, new[0]) and not _takes_back(connection, new):
        after = load(connection)
        for fill in new:
            if fill.filled_at >= opened.opened_at:
                after = apply_fill(after, fill)
    else:
        after = _replay(connection, opened, sorted([*_booked(connection), *new], key=fill_key))
    _store(connection, after)


def _require_account(connection: Connection) -> AccountRecord:
    opened = account(connection)
    if opened is None:
        raise Conflict("no account has been opened in this database yet", code="no_account")
    return opened


def _comes_last(connection: Connection, fill: Fill) -> bool:
    for at in (FILLS.c.filled_at, ADOPTIONS.c.at, CASH_ENTRIES.c.effective_at):
        last = connection.execute(select(func.max(at))).scalar_one_or_none()
        if last is not None and fill.filled_at < last:
            return False
        if last is not None and fill.filled_at == last and at is FILLS.c.filled_at:
            ids = connection.execute(select(FILLS.c.execution_id).where(FILLS.c.filled_at == last)).scalars()
            if any(fill.execution_id < other for other in ids):
                return False
    return True


def _takes_back(connection: Connection, new: Sequence[Fill]) -> bool:
    """Whether an execution among these, or one booked before its original, makes another void."""
    names = [fill.execution_id for fill in new]
    if any(fill.reverses is not None for fill in new):
        return True
    reversals = select(FILLS.c.reverses).where(FILLS.c.reverses.is_not(None))
    return bool(set(connection.execute(reversals).scalars()).intersection(names))


def _booked(connection: Connection) -> list[Fill]:
    columns = [column for column in FILLS.c if column.name != "booked_at"]
    return sorted((Fill(**row) for row in connection.execute(select(*columns)).mappings()), key=fill_key)


def _replay(connection: Connection, opened: AccountRecord, fills: Sequence[Fill]) -> Portfolio:
    """The fold from the beginning: of one instant adoptions come first, then entries, then fills; what was taken back never
    was."""
    void = {fill.reverses for fill in fills}
    counted = [fill for fill in fills if fill.reverses is None and fill.execution_id not in void]
    steps: list[tuple[datetime, int, Any, Row[Any] | Activity | Fill]] = [
        (fill.filled_at, 2, fill.execution_id, fill) for fill in counted if fill.filled_at >= opened.opened_at
    ]
    steps += [(row.at, 0, row.id, row) for row in connection.execute(select(ADOPTIONS))]
    # Of a split told in two rows the new units come before the old ones go, so that what they cost is not forgotten.
    steps += [(at, 1, (-entry.quantity, entry.activity_id), entry) for at, entry in _entries(connection)]
    portfolio = Portfolio(cash=opened.opening_cash)
    for _, _, _, step in sorted(steps, key=lambda step: step[:3]):
        if isinstance(step, Fill):
            portfolio = apply_fill(portfolio, step)
        elif isinstance(step, Activity):
            portfolio = apply_activity(portfolio, step)
        else:
            portfolio = _with_position(portfolio, step)
    return portfolio


def _entries(connection: Connection) -> list[tuple[datetime, Activity]]:
    columns = [column for column in CASH_ENTRIES.c if column.name not in ("effective_at", "booked_at")]
    query = select(*columns, CASH_ENTRIES.c.effective_at).where(CASH_ENTRIES.c.effective_at.is_not(None))
    rows = [dict(row) for row in connection.execute(query).mappings()]
    return [(row.pop("effective_at"), Activity(**row)) for row in rows]


def _with_position(portfolio: Portfolio, row: Row[Any]) -> Portfolio:
    position = Position(
        symbol=row.symbol, quantity=row.quantity, average_entry_price=row.average_entry_price, opened_at=row.opened_at
    )
    others = {symbol: held for symbol, held in portfolio.positions.items() if symbol != position.symbol}
    return replace(portfolio, positions={**others, position.symbol: position} if position.quantity else others)


def _store(connection: Connection, portfolio: Portfolio) -> None:
    audit.record(connection, Kind.BOOKED, {"book": portfolio})
    connection.execute(update(ACCOUNT).values(cash=portfolio.cash, realized=portfolio.realized))
    connection.execute(delete(POSITIONS))
    if portfolio.positions:
        connection.execute(
            insert(POSITIONS),
            [
                {
                    "symbol": position.symbol,
                    "quantity": position.quantity,
                    "average_entry_price": position.average_entry_price,
                    "opened_at": position.opened_at,
                }
                for position in portfolio.positions.values()
            ],
        )
