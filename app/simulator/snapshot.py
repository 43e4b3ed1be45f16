"""The whole state of a world as one JSON document, and back: clock, speed and every account with all that happened to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from app.domain.errors import Conflict, InvalidInput
from app.domain.order import Fill
from app.simulator import wire
from app.simulator.accounts.ledger import Entry, SimOrder
from app.simulator.rows import from_row, to_row
from app.simulator.store import SavedAccount
from app.simulator.world import World

_VERSION = 1


def take(world: World) -> wire.Json:
    """The state of a world. Secrets are in it as digests only; faults, barriers and the request log are not."""
    document = {
        "label": "SIMULATED",
        "version": _VERSION,
        "identity": world.identity(),
        "clock": world.now.isoformat(),
        "speed": repr(world.speed),
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
    return {**document, "digest": _digest(document)}


def restore(world: World, body: bytes) -> None:
    """Make a world what it was when the document in `body` was taken; its clock may go back. The request log stays.

    Raises InvalidInput for what is no snapshot or was changed, Conflict for one of another tape; nothing has changed then.
    """
    try:
        document = json.loads(body)
        digest = document.pop("digest")
        if document["version"] != _VERSION or digest != _digest(document):
            raise ValueError
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        raise InvalidInput("this is no snapshot, or it was changed; send back what GET /sim/snapshot answered") from None
    here, there = world.identity(), document["identity"]
    differing = [name for name in here if there.get(name) != here[name]]
    if differing:
        raise Conflict(
            f"the snapshot belongs to another run (different {', '.join(differing)}); it needs an exchange started alike"
        )
    accounts = [_account(fields) for fields in document["accounts"]]
    world.replace_state(accounts, datetime.fromisoformat(document["clock"]), float(document["speed"]))


def _account(fields: Mapping[str, Any]) -> SavedAccount:
    return SavedAccount(
        facts=fields["facts"],
        orders=[from_row(SimOrder, row) for row in fields["orders"]],
        fills=[from_row(Fill, row) for row in fields["fills"]],
        entries=[from_row(Entry, row) for row in fields["entries"]],
        closes=[(date.fromisoformat(day), Decimal(equity)) for day, equity in fields["closes"]],
    )


def _digest(document: wire.Json) -> str:
    """Of the content, however it is written down: it holds texts, whole numbers, truths and nulls only."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
