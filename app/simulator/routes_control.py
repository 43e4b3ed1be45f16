"""Routes of the simulation itself (/sim): its state, its clock, the truth about its account, a new start."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.domain.errors import InvalidInput
from app.simulator import wire, wire_orders
from app.simulator.clock import apply_move, speed_word
from app.simulator.errors import json_response
from app.simulator.order_request import parse_json
from app.simulator.world import World


def state(world: World) -> wire.Json:
    """GET /sim/state."""
    accounts, source = world.accounts, world.market.source
    ledgers = [account.ledger for account in accounts]
    return {
        "label": "SIMULATED",
        "clock": wire.instant(world.now),
        "is_open": world.market.calendar.is_open(world.now),
        "speed": speed_word(world.speed),
        "skip_closed": world.options.skip_closed,
        "seed": world.market.seed,
        "started_at": wire.instant(world.started_at),
        "source": source.label,
        "generated": source.generated,
        "derived": source.derived,
        "data_from": wire.second(min(int(bars.timestamp[0]) for bars in source.daily.values())),
        "data_until": wire.second(max(int(bars.known_at[-1]) for bars in source.daily.values())),
        "symbols": list(world.market.symbols),
        "accounts": len(accounts),
        "orders": sum(len(ledger.orders) for ledger in ledgers),
        "open_orders": sum(1 for ledger in ledgers for _ in ledger.open_orders()),
        "fills": sum(len(ledger.fills) for ledger in ledgers),
        "positions": sum(len(ledger.portfolio.positions) for ledger in ledgers),
        "sessions_closed": len(world.first.ledger.closes),
    }


async def get_state(request: Request) -> Response:
    """What is simulated, and what time it is there."""
    return json_response(state(request.app.state.world))


async def post_clock(request: Request) -> Response:
    """Move the clock or set its speed; answers the new state."""
    world: World = request.app.state.world
    apply_move(world, parse_json(await request.body()))
    return json_response(state(world))


async def post_reset(request: Request) -> Response:
    """Begin a new run: optional start (date), seed (integer), cash (number or string)."""
    world: World = request.app.state.world
    body = parse_json(await request.body() or b"{}")
    try:
        start = date.fromisoformat(body["start"]) if body.get("start") is not None else None
        seed = int(body["seed"]) if body.get("seed") is not None else None
        cash = Decimal(body["cash"]) if body.get("cash") is not None else None
    except (ValueError, TypeError, ArithmeticError):
        raise InvalidInput("start must be a date (2024-01-02), seed an integer, cash a number") from None
    world.reset(start=start, seed=seed, cash=cash)
    return json_response(state(world))


async def get_ledger(request: Request) -> Response:
    """Every order and execution ever accepted or made, and what they come to: the truth that tests compare with.

    key_id: whose account; the first one by default.
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
        }
    )


ROUTES = [
    Route("/sim/state", get_state, methods=["GET"]),
    Route("/sim/clock", post_clock, methods=["POST"]),
    Route("/sim/reset", post_reset, methods=["POST"]),
    Route("/sim/ledger", get_ledger, methods=["GET"]),
]
