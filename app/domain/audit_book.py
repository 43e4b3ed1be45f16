"""The books as the audit log tells them: a fold over its events, from the first one on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from app.domain.order_state import TERMINAL

# What is compared with the ledger, of a position and of an order.
HELD = ("quantity", "average_entry_price")
ORDERED = (
    "state", "symbol", "side", "quantity", "filled_quantity", "booked_quantity", "limit_price", "stop_price", "venue_order_id",
    "cycle_id", "parent_id", "attempt",
)  # fmt: skip
_AMOUNTS = frozenset({"quantity", "filled_quantity", "booked_quantity", "limit_price", "stop_price", "average_entry_price"})


@dataclass(slots=True, kw_only=True)
class AuditedBook:
    """Cash, holdings, orders and the trading state after event `seq`; rows hold plain JSON values under the ledger's names.
    cash, realized: None before the books were opened. at: the newest venue time known by then."""

    seq: int = 0
    at: datetime | None = None
    cash: Decimal | None = None
    realized: Decimal | None = None
    positions: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    risk: Mapping[str, Any] | None = None

    def apply(self, seq: int, at: datetime | None, client_order_id: str, payload: Mapping[str, Any]) -> None:
        """The next event."""
        self.seq = seq
        if at is not None:
            self.at = at if self.at is None else max(self.at, at)
        if "book" in payload:
            book = payload["book"]
            self.cash, self.realized = Decimal(book["cash"]), Decimal(book["realized"])
            self.positions = dict(book["positions"])
        if "order" in payload:
            self.orders[client_order_id] = dict(payload["order"])
        if "changed" in payload:
            self.orders.setdefault(client_order_id, {}).update(payload["changed"])
        if "risk" in payload:
            self.risk = payload["risk"]

    def open_orders(self) -> dict[str, dict[str, Any]]:
        """The orders that may still change."""
        return {name: order for name, order in self.orders.items() if order.get("state") not in TERMINAL}


def differences(told: AuditedBook, ledger: AuditedBook) -> tuple[str, ...]:
    """Where the log and the ledger disagree, as sentences; empty when they are equal."""
    found = [
        f"{name}: the log says {getattr(told, name)}, the ledger {getattr(ledger, name)}"
        for name in ("cash", "realized")
        if getattr(told, name) != getattr(ledger, name)
    ]
    for title, names, ours, theirs in (
        ("position", HELD, told.positions, ledger.positions),
        ("order", ORDERED, told.orders, ledger.orders),
    ):
        for key in sorted({*ours, *theirs}):
            found += _row_differences(f"{title} {key}", names, ours.get(key), theirs.get(key))
    state = [book.risk["trading_state"] if book.risk else None for book in (told, ledger)]
    if state[0] != state[1]:
        found.append(f"trading state: the log says {state[0]}, the ledger {state[1]}")
    return tuple(found)


def _row_differences(
    title: str, names: tuple[str, ...], told: Mapping[str, Any] | None, kept: Mapping[str, Any] | None
) -> list[str]:
    if told is None or kept is None:
        return [f"{title} is in the {'log' if kept is None else 'ledger'} alone"]
    return [
        f"{title}: {name} is {told.get(name)} in the log, {kept.get(name)} in the ledger"
        for name in names
        if _value(name, told.get(name)) != _value(name, kept.get(name))
    ]


def _value(name: str, value: Any) -> Any:
    return Decimal(value) if name in _AMOUNTS and value is not None else value
