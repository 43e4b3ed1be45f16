"""Routes of the simulation itself (/sim): its state, its clock, its accounts, a new start."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.domain.errors import InvalidInput
from app.simulator import wire
from app.simulator.accounts.account import Account
from app.simulator.accounts.order_request import parse_json
from app.simulator.clock import apply_move, speed_word
from app.simulator.errors import json_response
from app.simulator.faults.arrivals import text
from app.simulator.faults.fault_request import whole
from app.simulator.world import World

_BLOCKS = ("trading_blocked", "account_blocked")


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
    """Begin a new run: optional start (date), seed (integer), cash (number or string). With key_id: one account only."""
    world: World = request.app.state.world
    body = parse_json(await request.body() or b"{}")
    if unknown := sorted(set(body) - {"start", "seed", "cash", "key_id"}):
        raise InvalidInput(f"unknown field {unknown[0][:40]}; a reset takes start, seed, cash, or key_id alone")
    if body.get("key_id") is not None:
        if len(body) > 1:
            raise InvalidInput("key_id resets one account as it was opened; start, seed and cash belong to the whole run")
        world.reset_account(text(body, "key_id"))
        return json_response(state(world))
    try:
        start = date.fromisoformat(body["start"]) if body.get("start") is not None else None
        seed = int(body["seed"]) if body.get("seed") is not None else None
    except (ValueError, TypeError, ArithmeticError):
        raise InvalidInput("start must be a date (2024-01-02), seed an integer") from None
    world.reset(start=start, seed=seed, cash=_amount(body))
    return json_response(state(world))


async def get_accounts(request: Request) -> Response:
    """Every account, in the order in which they were opened."""
    world: World = request.app.state.world
    return json_response([_account(account) for account in world.accounts])


async def post_account(request: Request) -> Response:
    """Open an account: key_id, secret; optional cash, multiplier, trading_blocked, account_blocked. 409: it is there."""
    world: World = request.app.state.world
    body = parse_json(await request.body())
    if unknown := sorted(set(body) - {"key_id", "secret", "cash", "multiplier", *_BLOCKS}):
        raise InvalidInput(
            f"unknown field {unknown[0][:40]}; an account takes key_id, secret, cash, multiplier, {', '.join(_BLOCKS)}"
        )
    key_id, secret = text(body, "key_id"), text(body, "secret")
    if not (key_id and secret and f"{key_id}{secret}".isascii() and f"{key_id}{secret}".isprintable()):
        raise InvalidInput("key_id and secret must be texts of printable ASCII characters")
    blocks = {name: body.get(name, False) for name in _BLOCKS}
    if not all(isinstance(value, bool) for value in blocks.values()):
        raise InvalidInput(f"{' and '.join(_BLOCKS)} must be true or false")
    multiplier = None if body.get("multiplier") is None else whole(body, "multiplier", default=1)
    if multiplier not in {None, 1, 2, 4}:
        raise InvalidInput("multiplier must be 1 (cash account), 2 or 4")
    account = world.open_account(key_id, secret, cash=_amount(body), multiplier=multiplier, **blocks)
    return json_response(_account(account), 201)


def _account(account: Account) -> wire.Json:
    ledger = account.ledger
    return {
        "key_id": account.key_id,
        "account_id": ledger.account_id,
        "opened_at": wire.instant(account.opened_at),
        "start_cash": wire.text(ledger.start_cash),
        "cash": wire.text(ledger.portfolio.cash),
        "equity": wire.text(account.equity()),
        "orders": len(ledger.orders),
        "open_orders": sum(1 for _ in ledger.open_orders()),
        "fills": len(ledger.fills),
        "positions": len(ledger.portfolio.positions),
        "multiplier": account.multiplier,
        **{name: getattr(account, name) for name in _BLOCKS},
    }


def _amount(body: Mapping[str, Any]) -> Decimal | None:
    cash = body.get("cash")
    if cash is None:
        return None
    try:
        return Decimal(cash)
    except (ValueError, TypeError, ArithmeticError):
        raise InvalidInput("cash must be a number such as 100000") from None


ROUTES = [
    Route("/sim/state", get_state, methods=["GET"]),
    Route("/sim/clock", post_clock, methods=["POST"]),
    Route("/sim/reset", post_reset, methods=["POST"]),
    Route("/sim/accounts", get_accounts, methods=["GET"]),
    Route("/sim/accounts", post_account, methods=["POST"]),
]
