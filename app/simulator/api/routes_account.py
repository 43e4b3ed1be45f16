"""Alpaca's routes about the account (/v2/account): its money, its settings, its history and its activities."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.simulator.accounts.account import Account
from app.simulator.accounts.configuration import Configuration
from app.simulator.accounts.order_request import parse_json
from app.simulator.api import activities, wire_account
from app.simulator.api.history import DAY, TIMEFRAMES, HistoryRequest, history, period_start
from app.simulator.api.query import account_of, choice, flag, number, when, words, world_of
from app.simulator.errors import invalid, json_response

_PERIOD = re.compile(r"([1-9]\d{0,3})([DWMA])")
_REPORTING = ("market_hours", "extended_hours", "continuous")
_MOST_POINTS_DAYS = 31
_DAYS = {"D": 1, "W": 7, "M": 31, "A": 366}
_YES_NO = (True, False)
_SETTINGS: Mapping[str, tuple[object, ...]] = {
    "dtbp_check": ("both", "entry", "exit"),
    "pdt_check": ("both", "entry", "exit"),
    "max_margin_multiplier": ("1", "2", "4"),
    "trade_confirm_email": ("all", "none"),
    "max_options_trading_level": (0, 1, 2, 3, None),
    "fractional_trading": _YES_NO,
    "no_shorting": _YES_NO,
    "suspend_trade": _YES_NO,
    "ptp_no_exception_entry": _YES_NO,
    "disable_overnight_trading": _YES_NO,
}


async def get_account(request: Request) -> Response:
    """Cash, equity, buying power."""
    return json_response(wire_account.account(account_of(request)))


async def get_configuration(request: Request) -> Response:
    """The account's settings."""
    return json_response(wire_account.configuration(account_of(request).configuration))


async def patch_configuration(request: Request) -> Response:
    """Change some settings; nothing changes when one of them is wrong."""
    world, account = world_of(request), account_of(request)
    account.configure(_configured(account.configuration, parse_json(await request.body())))
    world.save()
    return json_response(wire_account.configuration(account.configuration))


async def get_history(request: Request) -> Response:
    """Equity and gain over time, never beyond the clock."""
    account = account_of(request)
    return json_response(history(account, _history_request(request, account)))


async def get_activities(request: Request) -> Response:
    """Executions and entries, newest first (direction=asc: oldest first); after, until exclusive; paged by the last id seen."""
    account = account_of(request)
    kind, listed = request.path_params.get("kind"), words(request, "activity_types")
    category = choice(request, "category", ("", "trade_activity", "non_trade_activity"))
    if category and listed:
        raise invalid("category cannot be used with activity_types")
    wanted = activities.ActivityRequest(
        kinds=activities.kinds((kind.upper(),) if kind else listed, category),
        after=when(request, "after"),
        until=when(request, "until"),
        day=_whole_day(request),
        order_id=request.query_params.get("order_id", "").lower() or None,
        descending=choice(request, "direction", ("desc", "asc")) == "desc",
        token=request.query_params.get("page_token") or None,
        size=number(request, "page_size", default=100, most=100),
    )
    return json_response(activities.listed(account.ledger, wanted))


def _whole_day(request: Request) -> date | None:
    """The UTC day that `date` names: activities are dated by their creation."""
    text, moment = request.query_params.get("date", ""), when(request, "date")
    return None if moment is None else date.fromisoformat(text) if len(text) == 10 else moment.date()


def _configured(present: Configuration, changes: Mapping[str, Any]) -> Configuration:
    accepted: dict[str, Any] = {}
    for name, given in changes.items():
        if name not in _SETTINGS or (given is None and None not in _SETTINGS[name]):
            continue  # unknown names are ignored, and clients send null for what they leave alone
        value = int(given) if isinstance(given, Decimal) and given in _SETTINGS[name] else given
        if not any(type(value) is type(option) and value == option for option in _SETTINGS[name]):
            allowed = ", ".join(str(option).lower() for option in _SETTINGS[name])
            raise invalid(f"invalid {name}: it must be one of {allowed}")
        accepted[name] = value
    return replace(present, **accepted)


def _history_request(request: Request, account: Account) -> HistoryRequest:
    query, now = request.query_params, account.now
    before = account.opened_at - timedelta(days=1)
    start, end = when(request, "start"), when(request, "end", end_of_day=True)
    end = end or when(request, "date_end", end_of_day=True)
    period = query.get("period")
    found = _PERIOD.fullmatch(period or "1M")
    if not found:
        raise invalid("invalid period: it must be a number and a unit such as 1D, 4W, 1M or 1A")
    if period and start and end:
        raise invalid("only two of start, end and period are accepted")
    if start and start > (end or now):
        raise invalid("start must not be after end or the present time")
    count, unit = int(found[1]), found[2]
    if start and period:
        end = start + timedelta(days=min(count * _DAYS[unit], (now - start).days + 1))
    end = max(min(end or now, now), before)
    start = start or period_start(account, count, unit, end)
    return HistoryRequest(
        timeframe=_timeframe(query.get("timeframe"), end - start),
        start=max(start, before),
        end=end,
        reporting=_reporting(request),
        per_day=choice(request, "pnl_reset", ("per_day", "no_reset")) == "per_day",
        cashflow=_cashflow(words(request, "cashflow_types")),
    )


def _reporting(request: Request) -> str:
    extended = flag(request, "extended_hours") and not request.query_params.get("intraday_reporting")
    return "extended_hours" if extended else choice(request, "intraday_reporting", _REPORTING)


def _timeframe(asked: str | None, length: timedelta) -> str:
    if not asked:
        return "1Min" if length < timedelta(days=7) else "15Min" if length < timedelta(days=30) else "1D"
    if asked not in TIMEFRAMES:
        raise invalid(f"invalid timeframe: it must be one of {', '.join(TIMEFRAMES)}")
    if TIMEFRAMES[asked] < DAY and length > timedelta(days=_MOST_POINTS_DAYS + 1):
        raise invalid("timeframe must be 1D for periods longer than 30 days")
    return asked


def _cashflow(asked: tuple[str, ...]) -> tuple[str, ...] | None:
    if asked == ("ALL",):
        return None
    return () if not asked or asked == ("NONE",) else tuple(kind for kind in activities.kinds(asked, "") if kind != "FILL")


ROUTES = [
    Route("/v2/account", get_account, methods=["GET"]),
    Route("/v2/account/configurations", get_configuration, methods=["GET"]),
    Route("/v2/account/configurations", patch_configuration, methods=["PATCH"]),
    Route("/v2/account/portfolio/history", get_history, methods=["GET"]),
    Route("/v2/account/activities", get_activities, methods=["GET"]),
    Route("/v2/account/activities/{kind}", get_activities, methods=["GET"]),
]
