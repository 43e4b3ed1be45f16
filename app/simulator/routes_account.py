"""Alpaca's routes about the account (/v2/account): its money and its activities."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.domain.order import Fill
from app.simulator import wire_account
from app.simulator.errors import json_response, unprocessable
from app.simulator.query import account_of, choice, number, when, words


async def get_account(request: Request) -> Response:
    """Cash, equity, buying power."""
    return json_response(wire_account.account(account_of(request)))


async def get_activities(request: Request) -> Response:
    """Executions, newest first (direction=asc: oldest first); after, until exclusive; paged by the last id seen."""
    ledger = account_of(request).ledger
    kinds = words(request, "activity_types") or (request.path_params.get("kind", "FILL").upper(),)
    after, until, day = when(request, "after"), when(request, "until"), request.query_params.get("date")
    fills: list[Fill] = ledger.fills if "FILL" in kinds else []
    if choice(request, "direction", ("desc", "asc")) == "desc":
        fills = fills[::-1]
    token = request.query_params.get("page_token")
    if token:
        seen = [index for index, fill in enumerate(fills) if wire_account.activity_id(fill) == token]
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
        wire_account.activity(fill, ledger.orders[fill.venue_order_id], ledger.account_id)
        for fill, _ in zip(wanted, range(size), strict=False)
    ]
    return json_response(rows)


ROUTES = [
    Route("/v2/account", get_account, methods=["GET"]),
    Route("/v2/account/activities", get_activities, methods=["GET"]),
    Route("/v2/account/activities/{kind}", get_activities, methods=["GET"]),
]
