"""The door of the exchange: every request of a client is written down, held, disturbed or let through here.

Order of events: received (written down), barriers "before", faults "before", the rate limit, the exchange, faults "after",
barriers "after", the answer. The routes under /sim pass undisturbed and unlogged.
"""

from __future__ import annotations

import asyncio

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.simulator.faults import connection
from app.simulator.faults.answers import Answer, Collector, refusal
from app.simulator.faults.arrivals import Arrival
from app.simulator.faults.rate_limit import RateLimit
from app.simulator.faults.request_log import Receipt
from app.simulator.faults.visit import CutOff, Visit
from app.simulator.world import World

MOST_BODY_BYTES = 1 << 20
MOST_SNAPSHOT_BYTES = 1 << 29
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_log = structlog.get_logger(__name__)


class Gate:
    """ASGI application around the exchange's own. rate_limit: requests a minute and account, None for no limit."""

    def __init__(self, app: ASGIApp, world: World, rate_limit: int | None) -> None:
        self._app = app
        self._world = world
        self._limit = RateLimit(rate_limit) if rate_limit else None
        self._closing = asyncio.Event()

    def let_go(self) -> None:
        """End every request that is held or delayed: the exchange is shutting down."""
        self._closing.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; WebSockets and the life cycle pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._let_in(scope, receive, send)
        except asyncio.CancelledError:  # by the server, which has waited long enough for its end
            if not self._closing.is_set():
                raise
            connection.reset(scope)

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        if scope["method"] not in _READS:
            most = MOST_SNAPSHOT_BYTES if scope["path"] == "/sim/snapshot" else MOST_BODY_BYTES
            try:
                body = await _read(scope, receive, most)
            except CutOff:
                return
            except _TooLarge:
                words = f"the request body is larger than {most >> 20} MB"
                await refusal(413, message=words, headers=((b"connection", b"close"),)).send(send)
                return
            receive = _Replay(body, receive)
        if scope["path"].startswith("/sim/"):
            await self._app(scope, receive, send)
        else:
            await self._serve(scope, receive, send, body)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, body: bytes) -> None:
        world = self._world
        arrival = _arrival(world, scope, body)
        receipt = world.requests.receive(arrival, world.now)
        visit = Visit(world, scope, receive, arrival, receipt, self._closing)
        answer: Answer | None = None
        try:
            answer = await self._answer(visit, scope, receive, arrival, receipt)
        except CutOff:
            return
        finally:
            if not receipt.changes:
                world.requests.count_read(getattr(scope.get("route"), "path", "no such route"))
            world.requests.finish(receipt, answer.status if answer else None)
        await answer.send(send)
        if answer.cut:
            connection.close(scope)

    async def _answer(self, visit: Visit, scope: Scope, receive: Receive, arrival: Arrival, receipt: Receipt) -> Answer:
        receipt.accepted = False
        headers: tuple[tuple[bytes, bytes], ...] = ()
        answer = await visit.before()
        if answer is None and self._limit is not None:
            answer, headers = self._limit.take(arrival.key_id, arrival.path)
        if answer is not None:
            return answer
        receipt.accepted = None
        answer = await self._handle(scope, receive)
        receipt.accepted = answer.status < 400
        return await visit.after(answer.with_headers(headers) if headers else answer)

    async def _handle(self, scope: Scope, receive: Receive) -> Answer:
        collector = Collector()
        try:
            await self._app(scope, receive, collector)
        except Exception:  # noqa: BLE001 - the application has answered 500 in its own words before it raises
            _log.exception("a request failed")
        return collector.answer() or refusal(500)


class _TooLarge(Exception):
    """More body than a route takes."""


class _Replay:
    """An ASGI `receive` that gives a body that was read, then what comes after it."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._message: Message | None = {"type": "http.request", "body": body, "more_body": False}
        self._receive = receive

    async def __call__(self) -> Message:
        """The next message."""
        message, self._message = self._message, None
        return message or await self._receive()


async def _read(scope: Scope, receive: Receive, most: int) -> bytes:
    """The whole body. Raises _TooLarge, or CutOff when the client goes away first."""
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if length.isdigit() and int(length) > most:
        raise _TooLarge
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CutOff
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise _TooLarge
        if not message.get("more_body", False):
            return b"".join(parts)


def _arrival(world: World, scope: Scope, body: bytes) -> Arrival:
    key_id = next((value for name, value in scope["headers"] if name == b"apca-api-key-id"), b"").decode("latin-1")
    return Arrival(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        body=body,
        key_id=key_id,
        account=world.known(key_id),
    )
