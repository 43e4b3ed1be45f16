"""The news stream (/v1beta1/news): articles when they are published, in the protocol of the market data streams.

Whatever the clock jumps over is told: articles are few.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from app.simulator.api import wire_data
from app.simulator.streams.feed import Span
from app.simulator.streams.market_data import MarketData
from app.simulator.wire import Json


class News(MarketData):
    """A client of the news stream."""

    channels: ClassVar[tuple[str, ...]] = ("news",)

    def _piece(self, span: Span) -> tuple[int, Iterator[tuple[str, Json]]]:
        names, room = self._subscribed["news"], self._market.source.news
        found = room.between(() if "*" in names else names, span.after + 1, span.until) if room else []
        return span.until, (("news", {"T": "n", **wire_data.article(one)}) for one in found)


async def serve_news(websocket: WebSocket) -> None:
    """The endpoint."""
    await News(websocket.app.state.hub, websocket, 0).serve()


ROUTES = [WebSocketRoute("/v1beta1/news", serve_news)]
