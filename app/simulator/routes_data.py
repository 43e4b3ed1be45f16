"""Alpaca's stock data routes (/v2/stocks), for many symbols and for one."""

from __future__ import annotations

import json
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.runtime.calendar import midnight_new_york, session_day
from app.simulator import wire_data
from app.simulator.errors import bad_request, json_response
from app.simulator.listing import BarRequest, list_bars, timeframe_seconds
from app.simulator.query import choice, number, when, words, world_of
from app.simulator.wire import Json
from app.simulator.world import World

_Newest = Callable[[World, str], Json | None]


async def get_bars(request: Request) -> Response:
    """Complete bars of many symbols (or the one in the path), paged."""
    world = world_of(request)
    one = request.path_params.get("symbol")
    symbols = (one.upper(),) if one else words(request, "symbols")
    if not symbols:
        raise bad_request("symbols is required")
    start, end = when(request, "start"), when(request, "end", end_of_day=True)
    listed, token = list_bars(
        world.market,
        BarRequest(
            symbols=symbols,
            seconds=timeframe_seconds(request.query_params.get("timeframe", "1Min")),
            start=int((start or midnight_new_york(session_day(world.now))).timestamp()),
            end=int(end.timestamp()) if end else world.second,
            limit=number(request, "limit", default=1000, most=10_000),
            descending=choice(request, "sort", ("asc", "desc")) == "desc",
            token=request.query_params.get("page_token"),
        ),
        world.second,
    )
    tail = f'"next_page_token":{json.dumps(token)}}}'
    if one:
        body = f'{{"symbol":{json.dumps(symbols[0])},"bars":[{",".join(listed.get(symbols[0], []))}],{tail}'
    else:
        body = '{"bars":{' + ",".join(f'"{symbol}":[{",".join(rows)}]' for symbol, rows in listed.items()) + "}," + tail
    return Response(body, media_type="application/json")


async def get_latest_bars(request: Request) -> Response:
    """The newest complete minute bar."""
    return _newest(request, "bar", _minute_bar)


async def get_latest_quotes(request: Request) -> Response:
    """Bid and ask around the newest trade."""
    return _newest(request, "quote", _quote)


async def get_latest_trades(request: Request) -> Response:
    """The newest trade."""
    return _newest(request, "trade", _trade)


async def get_snapshots(request: Request) -> Response:
    """Newest trade, quote and minute, running (or last) daily bar and the daily bar before it."""
    world, symbols = _asked(request)
    found = {symbol: shot for symbol in symbols if (shot := snapshot(world, symbol)) is not None}
    if "symbol" in request.path_params:
        symbol = request.path_params["symbol"].upper()
        return json_response({"symbol": symbol, **found.get(symbol, {})})
    return json_response(found)


def snapshot(world: World, symbol: str) -> Json | None:
    """One symbol's snapshot; None when it never traded by now."""
    now, market = world.second, world.market
    price = market.last_trade(symbol, now)
    if price is None:
        return None
    running = market.running_day(symbol, now)
    return {
        "latestTrade": wire_data.trade(price),
        "latestQuote": wire_data.quote(price),
        "minuteBar": wire_data.bar(market.minute_bar(symbol, now)),
        "dailyBar": wire_data.bar(running or market.daily_bar(symbol, now, 0)),
        "prevDailyBar": wire_data.bar(market.daily_bar(symbol, now, 0 if running else 1)),
    }


def _newest(request: Request, name: str, read: _Newest) -> Response:
    world, symbols = _asked(request)
    found = {symbol: value for symbol in symbols if (value := read(world, symbol)) is not None}
    if "symbol" in request.path_params:
        symbol = request.path_params["symbol"].upper()
        return json_response({"symbol": symbol, name: found.get(symbol)})
    return json_response({f"{name}s": found})


def _asked(request: Request) -> tuple[World, list[str]]:
    world = world_of(request)
    one = request.path_params.get("symbol")
    asked = (one.upper(),) if one else words(request, "symbols")
    if not asked:
        raise bad_request("symbols is required")
    known = [symbol for symbol in asked if symbol in world.market.source.daily]
    started = world.market.started(world.second)
    if started >= 0:
        world.market.prepare(known, started)
        if started and not world.market.minutes_done(started, world.second):
            world.market.prepare(known, started - 1)
    return world, known


def _minute_bar(world: World, symbol: str) -> Json | None:
    return wire_data.bar(world.market.minute_bar(symbol, world.second))


def _quote(world: World, symbol: str) -> Json | None:
    price = world.market.last_trade(symbol, world.second)
    return None if price is None else wire_data.quote(price)


def _trade(world: World, symbol: str) -> Json | None:
    price = world.market.last_trade(symbol, world.second)
    return None if price is None else wire_data.trade(price)


_READERS = {"bars": get_latest_bars, "quotes": get_latest_quotes, "trades": get_latest_trades}
ROUTES = [
    Route("/v2/stocks/bars", get_bars, methods=["GET"]),
    Route("/v2/stocks/snapshots", get_snapshots, methods=["GET"]),
    *(Route(f"/v2/stocks/{kind}/latest", reader, methods=["GET"]) for kind, reader in _READERS.items()),
    Route("/v2/stocks/{symbol}/bars", get_bars, methods=["GET"]),
    Route("/v2/stocks/{symbol}/snapshot", get_snapshots, methods=["GET"]),
    *(Route(f"/v2/stocks/{{symbol}}/{kind}/latest", reader, methods=["GET"]) for kind, reader in _READERS.items()),
]
