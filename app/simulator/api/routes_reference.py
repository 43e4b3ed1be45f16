"""Alpaca's reference routes: clock, calendar, assets (/v2), and the newer clock and calendar (/v3)."""

from __future__ import annotations

from datetime import date, timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.runtime.calendar import NEW_YORK, session_day
from app.simulator.accounts.account import Account
from app.simulator.api import wire_reference
from app.simulator.api.query import account_of, choice, symbol_of, when, words
from app.simulator.errors import bad_request, json_response
from app.simulator.wire import Json

_WEEK = timedelta(days=7)


async def get_clock(request: Request) -> Response:
    """The exchange's own time."""
    return json_response(wire_reference.clock(account_of(request)))


async def get_calendar(request: Request) -> Response:
    """Sessions whose trading or (date_type=SETTLEMENT) settlement date is between start and end, both inclusive."""
    calendar = account_of(request).market.calendar
    first, last = _day(request, "start", date.min), _day(request, "end", date.max)
    if choice(request, "date_type", ("trading", "settlement")) == "trading":
        return json_response([wire_reference.session(calendar, one) for one in calendar.between(first, last)])
    before = first - min(timedelta(days=15), first - date.min)
    rows = (wire_reference.session(calendar, one) for one in calendar.between(before, last))
    return json_response([row for row in rows if first.isoformat() <= row["settlement_date"] <= last.isoformat()])


async def get_market_clock(request: Request) -> Response:
    """The exchange's time at each of the markets asked for, all of them the New York session."""
    account = account_of(request)
    calendar, sessions = account.market.calendar, account.market.sessions
    at = when(request, "time") or account.now
    if not sessions[0].opens_at <= at < sessions[-1].opens_at:
        raise bad_request(f"invalid time: the calendar runs from {sessions[0].day} to {sessions[-1].day}")
    rows = [wire_reference.market_clock(calendar, _market(code), at) for code in words(request, "markets") or ("NYSE",)]
    return json_response({"clocks": rows})


async def get_market_calendar(request: Request) -> Response:
    """Sessions of one market from start (today) to end (a week later), in its own time or UTC."""
    account = account_of(request)
    code = _market(request.path_params["market"].upper())
    first = _day(request, "start", session_day(account.now))
    last = _day(request, "end", first + min(_WEEK, date.max - first))
    zone = None if choice(request, "timezone", ("", "utc")) else NEW_YORK
    calendar = account.market.calendar
    rows = [wire_reference.market_day(calendar, one, zone) for one in calendar.between(first, last)]
    return json_response({"market": wire_reference.market(code), "calendar": rows})


async def get_assets(request: Request) -> Response:
    """All symbols of the tape. They are active us_equity on one exchange without attributes: other filters leave nothing."""
    account = account_of(request)
    wanted = (
        choice(request, "status", ("", "active", "inactive", "all")) != "inactive"
        and request.query_params.get("asset_class") in {None, "", "us_equity"}
        and request.query_params.get("exchange") in {None, "", wire_reference.EXCHANGE}
        and not words(request, "attributes")
    )
    return json_response([_asset(account, symbol) for symbol in account.market.symbols] if wanted else [])


async def get_asset(request: Request) -> Response:
    """One symbol, by name or id."""
    account = account_of(request)
    return json_response(_asset(account, symbol_of(account, request.path_params["name"], "asset not found for")))


def _asset(account: Account, symbol: str) -> Json:
    return wire_reference.asset(symbol, tradable=account.price(symbol) is not None, margin=account.margin().multiplier > 1)


def _market(code: str) -> str:
    if code not in wire_reference.MARKETS:
        raise bad_request(f"invalid market: this simulated exchange knows {', '.join(wire_reference.MARKETS)}")
    return code


def _day(request: Request, name: str, default: date) -> date:
    text = request.query_params.get(name)
    if not text:
        return default
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        raise bad_request(f"invalid {name}: give a date such as 2024-01-02") from None


ROUTES = [
    Route("/v2/clock", get_clock, methods=["GET"]),
    Route("/v2/calendar", get_calendar, methods=["GET"]),
    Route("/v2/assets", get_assets, methods=["GET"]),
    Route("/v2/assets/{name}", get_asset, methods=["GET"]),
    Route("/v3/clock", get_market_clock, methods=["GET"]),
    Route("/v3/calendar/{market}", get_market_calendar, methods=["GET"]),
]
