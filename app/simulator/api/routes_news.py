"""Alpaca's news route (/v1beta1/news)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.simulator.api import wire_data
from app.simulator.api.data_query import page_of
from app.simulator.api.listing import decode_token, encode_token, whole
from app.simulator.api.query import words, world_of
from app.simulator.errors import json_response


async def get_news(request: Request) -> Response:
    """Articles published by now, newest first unless asked otherwise, paged."""
    world = world_of(request)
    page = page_of(request, start=0, end=world.second, default=10, most=50, descending=True)
    room = world.market.source.news
    found = room.between(words(request, "symbols"), page.start, min(page.end, world.second)) if room else []
    if page.descending:
        found.reverse()
    if page.token:
        at, number = (whole(part) for part in decode_token(page.token, 2))
        seen = (at, number)
        found = [a for a in found if ((a.at, a.id) < seen if page.descending else (a.at, a.id) > seen)]
    shown = found[: page.limit]
    token = encode_token(shown[-1].at, shown[-1].id) if len(found) > len(shown) else None
    return json_response({"news": [wire_data.article(one) for one in shown], "next_page_token": token})


ROUTES = [Route("/v1beta1/news", get_news, methods=["GET"])]
