"""Alpaca's routes for orders and positions (/v2)."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.simulator.accounts.account import Account
from app.simulator.accounts.ledger import Ledger, SimOrder
from app.simulator.accounts.order_request import parse_json, parse_order
from app.simulator.accounts.replacement import parse_replacement
from app.simulator.api import wire_orders
from app.simulator.api.query import account_of, choice, flag, number, symbol_of, when, words, world_of
from app.simulator.errors import ApiError, invalid, json_response, not_found
from app.simulator.wire import Json


async def post_order(request: Request) -> Response:
    """Accept an order; nothing fills before the clock moves."""
    world, account = world_of(request), account_of(request)
    order = account.submit(parse_order(parse_json(await request.body())))
    world.save()
    return json_response(wire_orders.order(order, account.ledger.legs(order.id)))


async def get_orders(request: Request) -> Response:
    """Orders newest first (direction=asc: oldest), filtered by status, after, until, symbols, side, or before or after an
    order; nested or flat."""
    ledger = account_of(request).ledger
    status, nested = choice(request, "status", ("open", "closed", "all")), flag(request, "nested")
    symbols, side = words(request, "symbols"), request.query_params.get("side", "").lower()
    limit = number(request, "limit", default=50, most=500)
    equities = {"", "US_EQUITY", "ALL"} & set(words(request, "asset_class") or ("",))
    found: list[Json] = []
    for order in _listed(request, ledger, only_open=status == "open", nested=nested) if equities else ():
        if (symbols and order.symbol not in symbols) or (side and order.side != side) or (nested and order.leg is not None):
            continue
        family = ledger.family(order) if nested and order.status != "replaced" else [order]
        if status == "all" or any(o.is_open for o in family) == (status == "open"):
            found.append(wire_orders.order(order, family[1:]))
            if len(found) == limit:
                break
    return json_response(found)


def _listed(request: Request, ledger: Ledger, *, only_open: bool, nested: bool) -> Iterator[SimOrder]:
    """The orders that a listing is about, in its order."""
    descending = choice(request, "direction", ("desc", "asc")) == "desc"
    after, until = when(request, "after"), when(request, "until")
    marks = {name: request.query_params.get(f"{name}_order_id") for name in ("after", "before")}
    if all(marks.values()):
        raise invalid("only one of before_order_id and after_order_id is accepted")
    first, last = (_sequence(ledger, marks[name]) for name in ("after", "before"))
    if only_open:
        source = _open(ledger, nested=nested, descending=descending)
    else:
        source = ledger.submitted(after=after, until=until, descending=descending)
    return (
        o
        for o in source
        if (first is None or o.sequence > first)
        and (last is None or o.sequence < last)
        and (after is None or o.submitted_at > after)
        and (until is None or o.submitted_at < until)
    )


def _open(ledger: Ledger, *, nested: bool, descending: bool) -> Iterator[SimOrder]:
    """Open orders, or the top orders of groups in which one is open."""
    if not nested:
        return ledger.open_orders(descending=descending)
    tops = {top.id: top for top in (ledger.family(order)[0] for order in ledger.open_orders())}
    return iter(sorted(tops.values(), key=lambda order: order.sequence, reverse=descending))


def _sequence(ledger: Ledger, order_id: str | None) -> int | None:
    if not order_id:
        return None
    if order_id.lower() not in ledger.orders:
        raise invalid("no order has the id given in before_order_id or after_order_id")
    return ledger.orders[order_id.lower()].sequence


async def get_order(request: Request) -> Response:
    """One order by the exchange's id."""
    account = account_of(request)
    return json_response(_shown(account, account.order(request.path_params["id"]), nested=flag(request, "nested")))


async def get_order_by_client_id(request: Request) -> Response:
    """One order by the sender's id."""
    account = account_of(request)
    order_id = account.ledger.by_client_id.get(request.query_params.get("client_order_id", ""))
    if order_id is None:
        raise not_found("order not found")
    return json_response(_shown(account, account.order(order_id), nested=True))


async def patch_order(request: Request) -> Response:
    """Replace: a new order in place of an open one."""
    world, account = world_of(request), account_of(request)
    order = account.replace(request.path_params["id"], parse_replacement(parse_json(await request.body())))
    world.save()
    return json_response(_shown(account, order, nested=True))


async def delete_order(request: Request) -> Response:
    """Cancel: 204, or 422 when it is no longer open."""
    world, account = world_of(request), account_of(request)
    account.cancel(request.path_params["id"], stuck=request.scope.get("stuck_cancel", False))
    world.save()
    return Response(status_code=204)


async def delete_orders(request: Request) -> Response:
    """Cancel every open order."""
    world, account = world_of(request), account_of(request)
    canceled = account.cancel_all(list(account.ledger.open_orders()))
    world.save()
    return json_response([{"id": order.id, "status": 200} for order in canceled], 207)


async def get_positions(request: Request) -> Response:
    """All holdings."""
    account = account_of(request)
    return json_response(
        [wire_orders.position(account, held) for _, held in sorted(account.ledger.portfolio.positions.items())]
    )


async def get_position(request: Request) -> Response:
    """One holding, by symbol or asset id."""
    account = account_of(request)
    return json_response(wire_orders.position(account, account.ledger.portfolio.positions[_held(account, request)]))


async def delete_position(request: Request) -> Response:
    """Close a position, or `qty` or `percentage` of it, at the market."""
    world, account = world_of(request), account_of(request)
    symbol = _held(account, request)
    quantity, percentage = (_decimal(request, name) for name in ("qty", "percentage"))
    if quantity is not None and percentage is not None:
        raise invalid("only one of qty or percentage is accepted")
    if percentage is not None and not 0 < percentage <= 100:
        raise invalid("percentage must be > 0 and <= 100")
    order = account.close_position(symbol, quantity=quantity, fraction=percentage and percentage / 100)
    world.save()
    return json_response(wire_orders.order(order))


async def delete_positions(request: Request) -> Response:
    """Close everything; with cancel_orders, open orders are canceled first, at once. One answer per position."""
    world, account = world_of(request), account_of(request)
    if flag(request, "cancel_orders"):
        account.cancel_at_once(list(account.ledger.open_orders()))
    answers: list[Json] = []
    for symbol in sorted(account.ledger.portfolio.positions):
        try:
            order = account.close_position(symbol)
            answers.append({"order_id": order.id, "symbol": symbol, "status": 200, "body": wire_orders.order(order)})
        except ApiError as refusal:
            answers.append({"symbol": symbol, "status": refusal.status, "body": refusal.body})
    world.save()
    return json_response(answers, 207)


def _shown(account: Account, order: SimOrder, *, nested: bool) -> Json:
    return wire_orders.order(order, account.ledger.legs(order.id) if nested else None)


def _held(account: Account, request: Request) -> str:
    symbol = symbol_of(account, request.path_params["name"], "symbol not found:")
    if symbol not in account.ledger.portfolio.positions:
        raise not_found("position does not exist")
    return symbol


def _decimal(request: Request, name: str) -> Decimal | None:
    text = request.query_params.get(name)
    if not text:
        return None
    try:
        value = Decimal(text) if len(text) <= 40 else Decimal("NaN")
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or abs(value.adjusted()) > 30:
        raise invalid(f"{name} is not a number")
    return value


ROUTES = [
    Route("/v2/orders", post_order, methods=["POST"]),
    Route("/v2/orders", get_orders, methods=["GET"]),
    Route("/v2/orders", delete_orders, methods=["DELETE"]),
    Route("/v2/orders:by_client_order_id", get_order_by_client_id, methods=["GET"]),
    Route("/v2/orders/{id}", get_order, methods=["GET"]),
    Route("/v2/orders/{id}", patch_order, methods=["PATCH"]),
    Route("/v2/orders/{id}", delete_order, methods=["DELETE"]),
    Route("/v2/positions", get_positions, methods=["GET"]),
    Route("/v2/positions", delete_positions, methods=["DELETE"]),
    Route("/v2/positions/{name}", get_position, methods=["GET"]),
    Route("/v2/positions/{name}", delete_position, methods=["DELETE"]),
]
