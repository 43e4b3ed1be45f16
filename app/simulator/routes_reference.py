"""Alpaca's reference routes (/v2): clock, calendar, assets."""

from __future__ import annotations

from datetime import date

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.simulator import wire_account
from app.simulator.account import Account
from app.simulator.errors import json_response, unprocessable
from app.simulator.query import account_of, symbol_of
from app.simulator.wire import Json


async def get_clock(request: Request) -> Response:
    """The exchange's own time."""
    return json_response(wire_account.clock(account_of(request)))


async def get_calendar(request: Request) -> Response:
    """Sessions with start <= date <= end."""
    account = account_of(request)
    days = []
    for name, default in (("start", date.min), ("end", date.max)):
        moment = request.query_params.get(name)
        try:
            days.append(date.fromisoformat(moment[:10]) if moment else default)
        except ValueError:
            raise unprocessable(f"invalid {name}: give a date such as 2024-01-02") from None
    return json_response([wire_account.session(day) for day in account.market.calendar.between(*days)])


async def get_assets(request: Request) -> Response:
    """All symbols of the tape."""
    account = account_of(request)
    wanted = request.query_params.get("asset_class") in {None, "", "us_equity"}
    wanted = wanted and request.query_params.get("status", "active") in {"active", "all", ""}
    return json_response([_asset(account, symbol) for symbol in account.market.symbols] if wanted else [])


async def get_asset(request: Request) -> Response:
    """One symbol, by name or id."""
    account = account_of(request)
    return json_response(_asset(account, symbol_of(account, request.path_params["name"], "asset not found for")))


def _asset(account: Account, symbol: str) -> Json:
    return wire_account.asset(symbol, tradable=account.price(symbol) is not None)


ROUTES = [
    Route("/v2/clock", get_clock, methods=["GET"]),
    Route("/v2/calendar", get_calendar, methods=["GET"]),
    Route("/v2/assets", get_assets, methods=["GET"]),
    Route("/v2/assets/{name}", get_asset, methods=["GET"]),
]
