"""The market data streams: /v2/iex, /v2/sip, /v2/test (the same tape), /v2/delayed_sip (the tape of 15 minutes ago).

Protocol as in https://docs.alpaca.markets/docs/streaming-market-data: JSON in text frames, or msgpack in binary frames when
the request says `Content-Type: application/msgpack`. Keys come in an `auth` message or in the request's headers. Other feeds
under /v2 are answered with 409. Nothing is sent from before the subscription, and nothing from after the clock.

Bars, trades and quotes come when their minute is complete, daily bars after each minute bar. When the clock jumps over more
than two sessions, only daily bars are sent of those before the newest (`feed.spans`). A client that falls further
behind than 20 sessions is told 407 and cut off.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, ClassVar

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from app.simulator import wire
from app.simulator.streams import feed
from app.simulator.streams.feed import Span
from app.simulator.streams.hub import MARKET_DATA, Connection, Hub
from app.simulator.wire import Json

CHANNELS = (
    "trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds", "corrections", "cancelErrors",
)  # fmt: skip
# Subscribing to trades brings these along, as at Alpaca; the tape never corrects a trade.
_WITH_TRADES = ("corrections", "cancelErrors")
FEED_DELAYS = {"iex": 0, "sip": 0, "test": 0, "delayed_sip": 900}
_MESSAGES_A_FRAME = 500
_MOST_SYMBOLS = 20_000
_LONGEST_SYMBOL = 20
_LAST_WORDS_SECONDS = 1.0
_STAMPS = ("t", "created_at", "updated_at")
ERRORS = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    409: "insufficient subscription",
}
_Subscriptions = dict[str, frozenset[str]]


class MarketData(Connection[Json]):
    """A client of a market data stream. delay: seconds by which the feed is behind the clock, None for one not served."""

    stream: ClassVar[str] = MARKET_DATA
    outbox_limit: ClassVar[int] = 1_000_000
    channels: ClassVar[tuple[str, ...]] = CHANNELS

    def __init__(self, hub: Hub, websocket: WebSocket, delay: int | None) -> None:
        super().__init__(hub, websocket)
        self.delay = delay
        self._packed = "msgpack" in websocket.headers.get("content-type", "").lower()
        self._subscribed: _Subscriptions = dict.fromkeys(self.channels, frozenset())
        self._spans: deque[Span] = deque()
        self._market = self.world.market
        self._halted = self._halted_now()
        self._timeout = asyncio.get_running_loop().call_later(hub.auth_seconds, self._time_out)

    @property
    def followed(self) -> bool:
        """Whether it has subscribed to anything."""
        return bool(self.key_id) and any(self._subscribed.values())

    def greet(self) -> None:
        """Connected; and authenticated at once when the keys came in the headers."""
        self.post({"T": "success", "msg": "connected"})
        headers = self.websocket.headers
        if "apca-api-key-id" in headers:
            self._log_in(headers["apca-api-key-id"], headers.get("apca-api-secret-key"))

    def receive(self, data: str | bytes) -> None:
        """Authenticate, subscribe or unsubscribe; anything else is an error and changes nothing."""
        match self._decode(data):
            case {"action": "auth", "key": key_id, "secret": secret}:
                self._log_in(key_id, secret)
            case {"action": "subscribe" | "unsubscribe"} if not self.key_id:
                self._refuse(401)
            case {"action": "subscribe" | "unsubscribe" as action, **wanted}:
                self._change(wanted, add=action == "subscribe")
            case _:
                self._refuse(400)

    def on_clock(self, before: datetime, now: datetime) -> None:
        """Note what has become known; a client that subscribed to nothing costs nothing."""
        if not self.followed or self.delay is None:
            return
        self._forget_another_run()
        self._tell_halts(now)
        after, until = int(before.timestamp()) - self.delay, int(now.timestamp()) - self.delay
        for span in feed.spans(self._market, after, until, self._halted):
            newest = self._spans[-1] if self._spans else None
            if newest and (newest.until, newest.minutes, newest.halted) == (span.after, span.minutes, span.halted):
                self._spans[-1] = newest._replace(until=span.until)
            else:
                self._spans.append(span)
        if self._backlog() > self.hub.backlog_minutes:
            self._fall_behind()
        self.more()

    def produce(self) -> bool:
        """Post the next piece of what the client must still be told."""
        self._forget_another_run()
        if not self._spans:
            return False
        span = self._spans.popleft()
        reached, messages = self._piece(span)
        if reached < span.until:
            self._spans.appendleft(span._replace(after=reached))
        for channel, message in messages:
            self.post_event(channel, message)
        return True

    def encode(self, messages: list[Json]) -> Iterable[str | bytes]:
        """Frames of many messages each."""
        for first in range(0, len(messages), _MESSAGES_A_FRAME):
            part = messages[first : first + _MESSAGES_A_FRAME]
            yield _pack([_stamped(m) for m in part]) if self._packed else json.dumps(part, separators=(",", ":"))

    def _piece(self, span: Span) -> tuple[int, Iterator[tuple[str, Json]]]:
        return feed.next_chunk(self._market, self._subscribed, span)

    def _decode(self, data: str | bytes) -> object:
        try:
            if self._packed and isinstance(data, bytes):
                return _unpack(data)
            return json.loads(data)
        except (ValueError, RecursionError):
            return None

    def _log_in(self, key_id: object, secret: object) -> None:
        if self.key_id:
            self._refuse(403)
        elif not self.authenticate(key_id, secret):
            self._refuse(402)
        elif self.delay is None:
            self._refuse(409, end=True)
        elif any(other is not self and type(other) is type(self) for other in self.hub.of(self.key_id, self.stream)):
            self._refuse(406, end=True)
        else:
            self._timeout.cancel()
            self.post({"T": "success", "msg": "authenticated"})

    def _change(self, wanted: dict[Any, Any], *, add: bool) -> None:
        """Subscribe or unsubscribe, and answer with the whole list."""
        changes = {channel: wanted[channel] for channel in self.channels if wanted.get(channel) is not None}
        if not all(isinstance(names, list) and all(map(_is_symbol, names)) for names in changes.values()):
            self._refuse(400)
            return
        if "trades" in changes and "trades" in self.channels:
            changes |= dict.fromkeys(_WITH_TRADES, changes["trades"])
        after = dict(self._subscribed)
        for channel, names in changes.items():
            symbols = {name.upper() for name in names}
            after[channel] = after[channel] | symbols if add else after[channel] - symbols
        if add and self._is_too_much(after):
            self._refuse(405)
            return
        self._subscribed = after
        if not self.followed:
            self._spans.clear()
        self.post({"T": "subscription", **{channel: sorted(after[channel]) for channel in self.channels}})

    def _is_too_much(self, subscribed: _Subscriptions) -> bool:
        if any(len(names) > _MOST_SYMBOLS for names in subscribed.values()):
            return True
        limit = self.world.options.stream_symbols
        counted = [subscribed.get("trades", frozenset()), subscribed.get("quotes", frozenset())]
        return limit is not None and (any("*" in names for names in counted) or sum(map(len, counted)) > limit)

    def _refuse(self, code: int, *, end: bool = False) -> None:
        self.post({"T": "error", "code": code, "msg": ERRORS[code]})
        if end:
            self.key_id = ""
            self.end()

    def _time_out(self) -> None:
        if not self.key_id:
            self._refuse(404, end=True)

    def _backlog(self) -> int:
        return sum(feed.minutes_in(self._market, span) for span in self._spans)

    def _fall_behind(self) -> None:
        """Say why, if the client should read after all, and hang up."""
        self._spans.clear()
        self._refuse(407, end=True)
        asyncio.get_running_loop().call_later(_LAST_WORDS_SECONDS, self.cut_off, ERRORS[407])

    def _forget_another_run(self) -> None:
        """A reset, or a snapshot put back, makes what waits worthless."""
        delay = self.delay or 0
        if self._market is not self.world.market:
            self._market = self.world.market
            self._spans.clear()
        while self._spans and self._spans[-1].until > self.world.second - delay:
            self._spans.pop()

    def _halted_now(self) -> frozenset[str]:
        return frozenset(self._market.halted)

    def _tell_halts(self, now: datetime) -> None:
        """Symbols that were halted, or trade again, since the clock moved last."""
        before, self._halted = self._halted, self._halted_now()
        names = self._subscribed.get("statuses", frozenset())
        for symbol in sorted(before ^ self._halted):
            if symbol in names or "*" in names:
                self.post_event("statuses", _status(symbol, symbol in self._halted, now))


def _is_symbol(name: object) -> bool:
    return isinstance(name, str) and name.isascii() and 0 < len(name) <= _LONGEST_SYMBOL


def _status(symbol: str, halted: bool, now: datetime) -> Json:
    """Codes of tapes A and B: H halted, T trading again; T1: news pending (UTP)."""
    return {
        "T": "s",
        "S": symbol,
        "sc": "H" if halted else "T",
        "sm": "Trading Halt" if halted else "Trading Resumption",
        "rc": "T1" if halted else "T3",
        "rm": "Halt News Pending" if halted else "News and Resumption Times",
        "t": wire.instant(now),
        "z": "C",
    }


def _stamped(message: Json) -> Json:
    """The message with its times as times: msgpack writes them as timestamp extensions."""
    return message | {name: datetime.fromisoformat(message[name]) for name in _STAMPS if name in message}


def _pack(messages: list[Json]) -> bytes:
    import msgpack

    packed: bytes = msgpack.packb(messages, datetime=True)
    return packed


def _unpack(data: bytes) -> object:
    import msgpack

    return msgpack.unpackb(data)


async def serve_market_data(websocket: WebSocket) -> None:
    """The endpoint."""
    await MarketData(websocket.app.state.hub, websocket, FEED_DELAYS.get(websocket.path_params["feed"])).serve()


ROUTES = [WebSocketRoute("/v2/{feed}", serve_market_data)]
