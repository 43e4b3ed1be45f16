"""The truth about a run (/sim): what was received and accepted, every account's books, the whole state."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.domain.errors import InvalidInput
from app.simulator import snapshot, wire
from app.simulator.api import wire_orders
from app.simulator.api.routes_control import state
from app.simulator.errors import json_response
from app.simulator.world import World

_FILTERS = ("key_id", "client_order_id", "method", "path")
_MOST = 1000


async def get_ledger(request: Request) -> Response:
    """Every order and execution ever accepted or made, and what they come to: the truth that tests compare with.

    key_id: whose account; the first one by default. received: every request of that key that asked for a change.
    """
    world: World = request.app.state.world
    key_id = request.query_params.get("key_id")
    account = world.by_key(key_id) if key_id else world.first
    ledger = account.ledger
    return json_response(
        {
            "label": "SIMULATED",
            "clock": wire.instant(account.now),
            "start_cash": wire.text(ledger.start_cash),
            "cash": wire.text(ledger.portfolio.cash),
            "equity": wire.text(account.equity()),
            "realized": wire.text(ledger.portfolio.realized),
            "previous_close_equity": wire.text(ledger.previous_close_equity),
            "positions": {
                symbol: {
                    "quantity": wire.text(held.quantity),
                    "average_entry_price": wire.text(held.average_entry_price),
                    "price": wire.text(account.price(symbol)),
                }
                for symbol, held in sorted(ledger.portfolio.positions.items())
            },
            "orders": [wire_orders.ledger_order(order) for order in ledger.orders.values()],
            "fills": [wire_orders.ledger_fill(fill) for fill in ledger.fills],
            "closes": [{"day": day.isoformat(), "equity": wire.text(equity)} for day, equity in ledger.closes],
            "received": world.requests.changing(key_id=account.key_id),
        }
    )


async def get_requests(request: Request) -> Response:
    """What was received, oldest first: changing requests for ever, the newest 10,000 reads with reads=true.

    key_id, client_order_id, method, path: equal to. after: a number to go on behind. limit: 100, at most 1,000.
    reads_by_route counts all reads since the exchange started.
    """
    world: World = request.app.state.world
    query = request.query_params
    unknown = sorted(set(query) - {*_FILTERS, "after", "limit", "reads"})
    if unknown:
        raise InvalidInput(f"unknown parameter {unknown[0][:40]}; there are {', '.join(_FILTERS)}, after, limit, reads")
    found = world.requests.page(
        {name: query[name] for name in _FILTERS if name in query},
        after=_whole(request, "after", default=0, most=2**62),
        limit=_whole(request, "limit", default=100, most=_MOST),
        reads=query.get("reads", "").lower() in {"true", "1"},
    )
    last = found[-1]["number"] if found else None
    return json_response({"requests": found, "last": last, "reads_by_route": dict(sorted(world.requests.reads.items()))})


async def get_snapshot(request: Request) -> Response:
    """The whole state as one document."""
    return json_response(snapshot.take(request.app.state.world))


async def put_snapshot(request: Request) -> Response:
    """Make everything as it was when the document was taken. 409 for a document of another tape."""
    world: World = request.app.state.world
    snapshot.restore(world, await request.body())
    return json_response(state(world))


def _whole(request: Request, name: str, *, default: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise InvalidInput(f"{name} must be a whole number")
    return min(int(text), most)


ROUTES = [
    Route("/sim/ledger", get_ledger, methods=["GET"]),
    Route("/sim/requests", get_requests, methods=["GET"]),
    Route("/sim/snapshot", get_snapshot, methods=["GET"]),
    Route("/sim/snapshot", put_snapshot, methods=["PUT"]),
]
