"""The whole state of a world as one JSON document, and back: clock, speed and every account with all that happened to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from app.domain.errors import Conflict, InvalidInput
from app.domain.order import Fill
from app.simulator import wire
from app.simulator.ledger import Entry, SimOrder
from app.simulator.rows import from_row, to_row
from app.simulator.store import SavedAccount
from app.simulator.world import World, checked_speed

_VERSION = 1


def take(world: World) -> wire.Json:
    """The state of a world. Secrets are in it as digests only; faults, barriers and the request log are not."""
    return {
        "label": "SIMULATED",
        "version": _VERSION,
        "identity": world.identity(),
        "clock": world.now.isoformat(),
        "speed": world.speed,
        "accounts": [
            {
                "facts": world.account_facts(account),
                "orders": [to_row(order) for order in account.ledger.orders.values()],
                "fills": [to_row(fill) for fill in account.ledger.fills],
                "entries": [to_row(entry) for entry in account.ledger.entries],
                "closes": [[day.isoformat(), str(equity)] for day, equity in account.ledger.closes],
            }
            for account in world.accounts
        ],
    }


def restore(world: World, document: Mapping[str, Any]) -> None:
    """Make a world what it was when `document` was taken; its clock may go back. The request log stays.

    Raises InvalidInput for what is no snapshot, Conflict for one of another tape; nothing has changed then.
    """
    if document.get("version") != _VERSION or not isinstance(document.get("identity"), dict):
        raise InvalidInput(f"this is no snapshot of version {_VERSION}; send back what GET /sim/snapshot answered")
    here = world.identity()
    differing = [name for name in here if document["identity"].get(name) != here[name]]
    if differing:
        raise Conflict(
            f"the snapshot belongs to another run (different {', '.join(differing)}); it needs an exchange started alike"
        )
    try:
        clock = datetime.fromisoformat(document["clock"]).astimezone(UTC)
        speed = checked_speed(float(document["speed"]))
        accounts = [_account(fields) for fields in document["accounts"]]
        if not accounts:
            raise ValueError("no account")
        world.replace_state(accounts, clock, speed)
    except (KeyError, ValueError, TypeError, AttributeError, ArithmeticError) as fault:
        raise InvalidInput(f"the snapshot is damaged: {type(fault).__name__} {str(fault)[:100]}; take it anew") from None


def _account(fields: Mapping[str, Any]) -> SavedAccount:
    return SavedAccount(
        facts=fields["facts"],
        orders=[from_row(SimOrder, row) for row in fields["orders"]],
        fills=[from_row(Fill, row) for row in fields["fills"]],
        entries=[from_row(Entry, row) for row in fields["entries"]],
        closes=[(date.fromisoformat(day), Decimal(equity)) for day, equity in fields["closes"]],
    )
