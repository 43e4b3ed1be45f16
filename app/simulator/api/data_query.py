"""Query parameters that the market data routes share; ApiError 400 where they are wrong."""

from __future__ import annotations

import math
from datetime import date

from starlette.requests import Request

from app.simulator.api.listing import Page
from app.simulator.api.query import choice, number, when, words
from app.simulator.errors import ApiError, bad_request

# All feeds show the same tape, delayed_sip the newest prices of a quarter of an hour ago.
_FEEDS = ("sip", "iex")
_LATEST_FEEDS = (*_FEEDS, "delayed_sip")
_CURRENCY = "USD"
_MOST_SYMBOLS = 2000


def symbols_of(request: Request) -> tuple[str, ...]:
    """The symbol in the path, or those of the parameter `symbols`."""
    one = request.path_params.get("symbol")
    asked = (one.upper(),) if one else words(request, "symbols")
    if not asked:
        raise bad_request("symbols is required")
    if len(asked) > _MOST_SYMBOLS:
        raise bad_request(f"too many symbols: at most {_MOST_SYMBOLS} in one request")
    return asked


def check_common(request: Request) -> None:
    """Feed, currency and asof: known values, though they change nothing but the delay of delayed_sip."""
    query = request.query_params
    feeds = _LATEST_FEEDS if request.url.path.endswith(("/latest", "/snapshots", "/snapshot")) else _FEEDS
    feed = query.get("feed")
    if feed and feed not in feeds:
        raise bad_request(f"invalid feed: {feed[:20]}; this simulated exchange has {', '.join(feeds)}")
    currency = query.get("currency")
    if currency and currency.upper() != _CURRENCY:
        raise bad_request(f"invalid currency: {currency[:20]}; prices are in {_CURRENCY}")
    asof = query.get("asof")
    if asof and asof != "-":
        try:
            date.fromisoformat(asof)
        except ValueError:
            raise bad_request("invalid asof: give a date such as 2024-01-02, or - for no mapping of symbols") from None


def page_of(request: Request, *, start: int, end: int, default: int, most: int, descending: bool = False) -> Page:
    """Which rows are wanted. start, end: where none are given. descending: the order where none is given."""
    try:
        first, last = when(request, "start"), when(request, "end", end_of_day=True)
        limit = number(request, "limit", default=default, most=most)
        order = choice(request, "sort", ("desc", "asc") if descending else ("asc", "desc"))
    except ApiError as error:
        raise bad_request(str(error)) from None
    begin, until = math.ceil(first.timestamp()) if first else start, math.floor(last.timestamp()) if last else end
    if last is not None and begin > until:
        raise bad_request("end should not be before start")
    return Page(begin, until, limit, order == "desc", request.query_params.get("page_token"))
