"""Alpaca's stock data routes (/v2/stocks), for many symbols and for one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.runtime.calendar import midnight_new_york, session_day
from app.simulator.api import routes_news, routes_reference_data, wire_data
from app.simulator.api.data_query import check_common, page_of, symbols_of
from app.simulator.api.listing import Page, list_rows
from app.simulator.api.query import world_of
from app.simulator.errors import bad_request, json_response, not_found
from app.simulator.tape.columns import Columns
from app.simulator.tape.ticks import Ticks, newest, ticks_of
from app.simulator.tape.timeframes import BarQuery, bars_of, parse_adjustment, parse_timeframe
from app.simulator.wire import Json
from app.simulator.world import World

_DELAY = 900  # of the feed delayed_sip, in seconds
_Newest = Callable[[World, str, int], Json | None]
_Listed = tuple[dict[str, list[str]], str | None]


async def get_bars(request: Request) -> Response:
    """Bars of many symbols (or the one in the path), paged."""
    world, symbols = _asked(request)
    timeframe = request.query_params.get("timeframe")
    if not timeframe:
        raise bad_request("timeframe is required")
    frame = parse_timeframe(timeframe)
    adjustment = parse_adjustment(request.query_params.get("adjustment") or "raw")
    page = _page(request, world)

    def read(symbol: str, start: int, end: int) -> Iterator[Columns]:
        query = BarQuery(timeframe=frame, adjustment=adjustment, start=start, end=end, descending=page.descending)
        return bars_of(world.market, symbol, query, world.second)

    return _pages(request, "bars", list_rows(symbols, page, read, wire_data.bars))


async def get_trades(request: Request) -> Response:
    """Trades, paged."""
    return _ticks(request, "trades", wire_data.trades)


async def get_quotes(request: Request) -> Response:
    """Quotes, one for each trade, paged."""
    return _ticks(request, "quotes", wire_data.quotes)


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
    now = _latest_at(request, world)
    found = {symbol: shot for symbol in symbols if (shot := snapshot(world, symbol, now)) is not None}
    if "symbol" in request.path_params:
        symbol = request.path_params["symbol"].upper()
        return json_response({"symbol": symbol, **found.get(symbol, {}), **_currency(request)})
    return json_response(found)


def snapshot(world: World, symbol: str, now: int) -> Json | None:
    """One symbol's snapshot; None when it never traded by now."""
    market = world.market
    price = newest(market, symbol, now)
    if price is None:
        return None
    running = market.running_day(symbol, now)
    bars = {
        "minuteBar": market.minute_bar(symbol, now),
        "dailyBar": running or market.daily_bar(symbol, now, 0),
        "prevDailyBar": market.daily_bar(symbol, now, 0 if running else 1),
    }
    shown = {name: wire_data.bar(bar) for name, bar in bars.items() if bar is not None}
    return {"latestTrade": wire_data.trade(price), "latestQuote": wire_data.quote(price), **shown}


def _ticks(request: Request, name: str, write: Callable[[Ticks], list[str]]) -> Response:
    world, symbols = _asked(request)
    page = _page(request, world)

    def read(symbol: str, start: int, end: int) -> Iterator[Ticks]:
        return ticks_of(world.market, symbol, start, end, world.second, descending=page.descending)

    return _pages(request, name, list_rows(symbols, page, read, write))


def _pages(request: Request, name: str, found: _Listed) -> Response:
    listed, token = found
    tail = "".join(f',"{key}":{json.dumps(value)}' for key, value in {"next_page_token": token, **_currency(request)}.items())
    if "symbol" in request.path_params:
        symbol = request.path_params["symbol"].upper()
        body = f'{{"symbol":{json.dumps(symbol)},"{name}":[{",".join(listed.get(symbol, []))}]{tail}}}'
    else:
        rows = ",".join(f"{json.dumps(symbol)}:[{','.join(rows)}]" for symbol, rows in listed.items())
        body = f'{{"{name}":{{{rows}}}{tail}}}'
    return Response(body, media_type="application/json")


def _newest(request: Request, name: str, read: _Newest) -> Response:
    world, symbols = _asked(request)
    now = _latest_at(request, world)
    found = {symbol: value for symbol in symbols if (value := read(world, symbol, now)) is not None}
    if "symbol" not in request.path_params:
        return json_response({f"{name}s": found, **_currency(request)})
    symbol = request.path_params["symbol"].upper()
    if symbol not in found:
        raise not_found(f"no {name} found for {symbol[:20]}")
    return json_response({"symbol": symbol, name: found[symbol], **_currency(request)})


def _asked(request: Request) -> tuple[World, list[str]]:
    """The world, and those of the symbols asked for that are traded in it."""
    world = world_of(request)
    check_common(request)
    known = [symbol for symbol in symbols_of(request) if world.market.knows(symbol)]
    started = world.market.started(world.second)
    if started >= 0 and len(known) > 1:
        world.market.prepare(known, started)  # at once, which is faster than one by one
    return world, known


def _page(request: Request, world: World) -> Page:
    return page_of(
        request,
        start=int(midnight_new_york(session_day(world.now)).timestamp()),
        end=world.second,
        default=1000,
        most=10_000,
    )


def _latest_at(request: Request, world: World) -> int:
    return world.second - (_DELAY if request.query_params.get("feed") == "delayed_sip" else 0)


def _currency(request: Request) -> Json:
    return {"currency": "USD"} if "currency" in request.query_params else {}


def _minute_bar(world: World, symbol: str, now: int) -> Json | None:
    return wire_data.bar(world.market.minute_bar(symbol, now))


def _quote(world: World, symbol: str, now: int) -> Json | None:
    price = world.market.last_trade(symbol, now)
    return None if price is None else wire_data.quote(price)


def _trade(world: World, symbol: str, now: int) -> Json | None:
    price = newest(world.market, symbol, now)
    return None if price is None else wire_data.trade(price)


_LATEST = {"bars": get_latest_bars, "quotes": get_latest_quotes, "trades": get_latest_trades}
_LISTS = {"bars": get_bars, "quotes": get_quotes, "trades": get_trades}
_get = partial(Route, methods=["GET"])
ROUTES = [
    *routes_news.ROUTES,
    *routes_reference_data.ROUTES,
    _get("/v2/stocks/snapshots", get_snapshots),
    *(_get(f"/v2/stocks/{kind}", reader) for kind, reader in _LISTS.items()),
    *(_get(f"/v2/stocks/{kind}/latest", reader) for kind, reader in _LATEST.items()),
    _get("/v2/stocks/{symbol}/snapshot", get_snapshots),
    *(_get(f"/v2/stocks/{{symbol}}/{kind}", reader) for kind, reader in _LISTS.items()),
    *(_get(f"/v2/stocks/{{symbol}}/{kind}/latest", reader) for kind, reader in _LATEST.items()),
]
