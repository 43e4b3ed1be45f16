"""Alpaca's account activities as values: executions, and everything else that moves money or shares."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from app.brokers.alpaca_wire import instant
from app.domain.activity import Activities, Activity, ActivityKind
from app.domain.order import Fill, Side
from app.runtime.calendar import midnight_new_york

_KINDS = {
    "CSD": ActivityKind.DEPOSIT,
    "CSW": ActivityKind.WITHDRAWAL,
    **dict.fromkeys(("TRANS", "ACATC", "ACATS", "JNL", "JNLC", "JNLS"), ActivityKind.TRANSFER),
    **dict.fromkeys(("INT", "INTNRA", "INTTW"), ActivityKind.INTEREST),
    **dict.fromkeys(("FEE", "CFEE", "PTC", "DIVFEE"), ActivityKind.FEE),
    **dict.fromkeys(("SPLIT", "SSP"), ActivityKind.SPLIT),
    **dict.fromkeys(("MA", "NC", "REORG", "SPIN", "SC", "SSO", "PTR", "CGD", "OPCA"), ActivityKind.REORGANIZATION),
}
_MOVES_UNITS = frozenset({ActivityKind.TRANSFER, ActivityKind.SPLIT, ActivityKind.REORGANIZATION})
_VOID = frozenset({"canceled", "cancelled", "rejected"})
_STAMP = re.compile(r"(\d{17})::")


def statement(rows: Iterable[Mapping[str, Any]]) -> Activities:
    """Rows of any types, in any order, each once however often it is listed."""
    by_id = {str(row["id"]): row for row in rows if str(row.get("status", "")).lower() not in _VOID}
    fills = [fill for row in by_id.values() if row["activity_type"] == "FILL" for fill in fills_of(row)]
    entries = [entry_of(row) for row in by_id.values() if row["activity_type"] != "FILL"]
    return Activities(
        fills=tuple(sorted(fills, key=lambda fill: (fill.filled_at, fill.execution_id))),
        entries=tuple(sorted(entries, key=lambda entry: (entry.at, entry.activity_id))),
    )


def fills_of(row: Mapping[str, Any]) -> list[Fill]:
    """The execution that a row tells; a bust takes one back, a correction puts another in its place."""
    activity = str(row["id"])  # time::execution id; the trade-update stream tells the second part only
    fill = Fill(
        execution_id=str(row.get("execution_id") or activity.partition("::")[2] or activity),
        venue_order_id=str(row["order_id"]),
        symbol=str(row["symbol"]),
        side=Side.BUY if row["side"] == "buy" else Side.SELL,
        quantity=Decimal(row["qty"]),
        price=Decimal(row["price"]),
        filled_at=instant(row["transaction_time"]),
        commission=Decimal(row.get("commission") or 0),
    )
    before = row.get("previous_execution_id")
    if not before:
        return [fill]
    taken_back = replace(fill, execution_id=f"{fill.execution_id}-reverses", reverses=str(before))
    return [taken_back, fill] if row.get("type") == "trade_correct" else [replace(taken_back, execution_id=fill.execution_id)]


def entry_of(row: Mapping[str, Any]) -> Activity:
    """A row that is no execution. A word that we do not know still moves the money it names."""
    word = str(row["activity_type"])
    kind = _KINDS.get(word) or (ActivityKind.DIVIDEND if word.startswith("DIV") else ActivityKind.OTHER)
    price = row.get("price")
    return Activity(
        activity_id=str(row["id"]),
        kind=kind,
        word=word,
        at=_at(row),
        amount=Decimal(row.get("net_amount") or 0),
        symbol=row.get("symbol") or None,
        # Of a dividend this is what was held, not what came.
        quantity=Decimal(row.get("qty") or 0) if kind in _MOVES_UNITS else Decimal(0),
        price=Decimal(price) if price else None,
        description=str(row.get("description") or ""),
    )


def _at(row: Mapping[str, Any]) -> datetime:
    """When it was entered: as told, else as its id says, else the start of its day."""
    if row.get("created_at"):
        return instant(row["created_at"])
    stamped = _STAMP.match(str(row["id"]))
    if stamped:
        return datetime.strptime(stamped[1], "%Y%m%d%H%M%S%f").replace(tzinfo=UTC)
    return midnight_new_york(datetime.fromisoformat(row["date"]).date())
