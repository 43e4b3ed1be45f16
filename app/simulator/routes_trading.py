"""Alpaca's trading routes (/v2): account, clock, calendar, assets, orders, positions, activities."""

from __future__ import annotations

from datetime import date
from decimal import Decimal, InvalidOperation

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.domain.order import Fill
from app.simulator import wire
from app.simulator.errors import ApiError, invalid, json_response, not_found, unprocessable
from app.simulator.exchange import Exchange
from app.simulator.ledger import SimOrder
from app.simulator.order_request import parse_json, parse_order
from app.simulator.query import choice, flag, number, when, words, world_of


async def get_account(request: Request) -> Response:
    """Cash, equity, buying power."""
    world = world_of(request)
    return json_response(wire.account(world.exchange, world.started_at))


async def get_clock(request: Request) -> Response:
    """The exchange's own time."""
    return json_response(wire.clock(world_of(request).exchange))


async def get_calendar(request: Request) -> Response:
    """Sessions with start <= date <= end."""
    exchange = world_of(request).exchange
    days = []
    for name, default in (("start", date.min), ("end", date.max)):
        moment = request.query_params.get(name)
        try:
            days.append(date.fromisoformat(moment[:10]) if moment else default)
        except ValueError:
            raise unprocessable(f"invalid {name}: give a date such as 2024-01-02") from None
    return json_response([wire.session(day) for day in exchange.market.calendar.between(*days)])


async def get_assets(request: Request) -> Response:
    """All symbols of the tape."""
    exchange = world_of(request).exchange
    wanted = request.query_params.get("asset_class") in {None, "", "us_equity"}
    wanted = wanted and request.query_params.get("status", "active") in {"active", "all", ""}
    return json_response([_asset(exchange, symbol) for symbol in exchange.market.symbols] if wanted else [])


async def get_asset(request: Request) -> Response:
    """One symbol, by name or id."""
    exchange = world_of(request).exchange
    return json_response(_asset(exchange, _symbol(exchange, request.path_params["name"], "asset not found for")))


async def post_order(request: Request) -> Response:
    """Accept an order; nothing fills before the clock moves."""
    world = world_of(request)
    order = world.exchange.submit(parse_order(parse_json(await request.body())))
    world.save()
    return json_response(wire.order(order, world.exchange.ledger.legs(order.id)))


async def get_orders(request: Request) -> Response:
    """Orders newest first (direction=asc: oldest), filtered by status, after, until, symbols, side; nested or flat."""
    ledger = world_of(request).exchange.ledger
    status, nested = choice(request, "status", ("open", "closed", "all")), flag(request, "nested")
    after, until = when(request, "after"), when(request, "until")
    symbols, side = words(request, "symbols"), request.query_params.get("side", "").lower()
    limit = number(request, "limit", default=50, most=500)
    source = ledger.open_orders() if status == "open" and not nested else ledger.orders.values()
    found = []
    ordered = sorted(source, key=lambda o: o.sequence, reverse=choice(request, "direction", ("desc", "asc")) == "desc")
    for order in ordered:
        if nested and order.parent_id is not None:
            continue
        family = ledger.family(order) if nested else [order]
        wanted = (
            (status == "all" or any(o.is_open for o in family) == (status == "open"))
            and (after is None or order.submitted_at > after)
            and (until is None or order.submitted_at < until)
            and (not symbols or order.symbol in symbols)
            and (not side or order.side == side)
        )
        if wanted:
            found.append(wire.order(order, family[1:]))
            if len(found) == limit:
                break
    return json_response(found)


async def get_order(request: Request) -> Response:
    """One order by the exchange's id."""
    exchange = world_of(request).exchange
    return json_response(_shown(exchange, exchange.order(request.path_params["id"]), nested=flag(request, "nested")))


async def get_order_by_client_id(request: Request) -> Response:
    """One order by the sender's id."""
    exchange = world_of(request).exchange
    order_id = exchange.ledger.by_client_id.get(request.query_params.get("client_order_id", ""))
    if order_id is None:
        raise not_found("order not found")
    return json_response(_shown(exchange, exchange.order(order_id), nested=True))


async def delete_order(request: Request) -> Response:
    """Cancel: 204, or 422 when it is no longer open."""
    world = world_of(request)
    world.exchange.cancel(request.path_params["id"])
    world.save()
    return Response(status_code=204)


async def delete_orders(request: Request) -> Response:
    """Cancel every open order."""
    world = world_of(request)
    canceled = world.exchange.cancel_all(list(world.exchange.ledger.open_orders()))
    world.save()
    return json_response([{"id": order.id, "status": 200} for order in canceled], 207)


async def get_positions(request: Request) -> Response:
    """All holdings."""
    exchange = world_of(request).exchange
    return json_response([wire.position(exchange, held) for _, held in sorted(exchange.ledger.portfolio.positions.items())])


async def get_position(request: Request) -> Response:
    """One holding, by symbol or asset id."""
    exchange = world_of(request).exchange
    return json_response(wire.position(exchange, exchange.ledger.portfolio.positions[_held(exchange, request)]))


async def delete_position(request: Request) -> Response:
    """Sell a holding, or `qty` or `percentage` of it, at the market."""
    world = world_of(request)
    symbol = _held(world.exchange, request)
    quantity, percentage = (_decimal(request, name) for name in ("qty", "percentage"))
    if quantity is not None and percentage is not None:
        raise invalid("only one of qty or percentage is accepted")
    if percentage is not None and not 0 < percentage <= 100:
        raise invalid("percentage must be > 0 and <= 100")
    order = world.exchange.close_position(symbol, quantity=quantity, fraction=percentage and percentage / 100)
    world.save()
    return json_response(wire.order(order))


async def delete_positions(request: Request) -> Response:
    """Sell everything; with cancel_orders, open orders are canceled first. One answer per holding."""
    world = world_of(request)
    exchange = world.exchange
    if flag(request, "cancel_orders"):
        exchange.cancel_all(list(exchange.ledger.open_orders()))
    answers: list[wire.Json] = []
    for symbol in sorted(exchange.ledger.portfolio.positions):
        try:
            order = exchange.close_position(symbol)
            answers.append({"order_id": order.id, "symbol": symbol, "status": 200, "body": wire.order(order)})
        except ApiError as refusal:
            answers.append({"symbol": symbol, "status": refusal.status, "body": refusal.body})
    world.save()
    return json_response(answers, 207)


async def get_activities(request: Request) -> Response:
    """Executions, newest first (direction=asc: oldest first); after, until exclusive; paged by the last id seen."""
    ledger = world_of(request).exchange.ledger
    kinds = words(request, "activity_types") or (request.path_params.get("kind", "FILL").upper(),)
    after, until, day = when(request, "after"), when(request, "until"), request.query_params.get("date")
    fills: list[Fill] = ledger.fills if "FILL" in kinds else []
    if choice(request, "direction", ("desc", "asc")) == "desc":
        fills = fills[::-1]
    token = request.query_params.get("page_token")
    if token:
        seen = [index for index, fill in enumerate(fills) if wire.activity_id(fill) == token]
        if not seen:
            raise unprocessable("invalid page_token")
        fills = fills[seen[0] + 1 :]
    wanted = (
        fill
        for fill in fills
        if (after is None or fill.filled_at > after)
        and (until is None or fill.filled_at < until)
        and (not day or fill.filled_at.date().isoformat() == day[:10])
    )
    size = number(request, "page_size", default=100, most=100)
    rows = [
        wire.activity(fill, ledger.orders[fill.venue_order_id], ledger.account_id)
        for fill, _ in zip(wanted, range(size), strict=False)
    ]
    return json_response(rows)


def _shown(exchange: Exchange, order: SimOrder, *, nested: bool) -> wire.Json:
    return wire.order(order, exchange.ledger.legs(order.id) if nested else None)


def _asset(exchange: Exchange, symbol: str) -> wire.Json:
    return wire.asset(symbol, tradable=exchange.price(symbol) is not None)


def _symbol(exchange: Exchange, name: str, complaint: str) -> str:
    if name.upper() in exchange.market.symbols:
        return name.upper()
    for symbol in exchange.market.symbols:
        if wire.asset_id(symbol) == name.lower():
            return symbol
    raise not_found(f"{complaint} {name[:64]}")


def _held(exchange: Exchange, request: Request) -> str:
    symbol = _symbol(exchange, request.path_params["name"], "symbol not found:")
    if symbol not in exchange.ledger.portfolio.positions:
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
    Route("/v2/account", get_account, methods=["GET"]),
    Route("/v2/account/activities", get_activities, methods=["GET"]),
    Route("/v2/account/activities/{kind}", get_activities, methods=["GET"]),
    Route("/v2/clock", get_clock, methods=["GET"]),
    Route("/v2/calendar", get_calendar, methods=["GET"]),
    Route("/v2/assets", get_assets, methods=["GET"]),
    Route("/v2/assets/{name}", get_asset, methods=["GET"]),
    Route("/v2/orders", post_order, methods=["POST"]),
    Route("/v2/orders", get_orders, methods=["GET"]),
    Route("/v2/orders", delete_orders, methods=["DELETE"]),
    Route("/v2/orders:by_client_order_id", get_order_by_client_id, methods=["GET"]),
    Route("/v2/orders/{id}", get_order, methods=["GET"]),
    Route("/v2/orders/{id}", delete_order, methods=["DELETE"]),
    Route("/v2/positions", get_positions, methods=["GET"]),
    Route("/v2/positions", delete_positions, methods=["DELETE"]),
    Route("/v2/positions/{name}", get_position, methods=["GET"]),
    Route("/v2/positions/{name}", delete_position, methods=["DELETE"]),
]
