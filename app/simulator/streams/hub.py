"""Streams: what every WebSocket connection of the exchange has in common, and the hub that knows them all.

Whoever has something to say posts it to a connection and goes on; the connection's own task sends it. So a slow or dead
client delays neither a request nor the clock: what waits for it is bounded, and a client beyond the bound is cut off.
Only the speed `FOLLOW` waits for clients, with `Hub.settled`.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.simulator.accounts.account import Account
from app.simulator.accounts.ledger import OrderEvent
from app.simulator.errors import ApiError
from app.simulator.streams.socket import socket_of
from app.simulator.world import World

TRADE_UPDATES = "trade_updates"
MARKET_DATA = "market_data"
AUTH_SECONDS = 10.0
BACKLOG_MINUTES = 20 * 390
_LONGEST_KEY = 256
_log = structlog.get_logger(__name__)
M = TypeVar("M")


class StreamPlan(Protocol):
    """What a fault does to one message. drop: not sent. copies: how often it is sent. delay: seconds of wall time, for it and
    all behind it. swap: sent after the next message. mute: this connection says nothing from here on."""

    @property
    def drop(self) -> bool: ...  # noqa: D102
    @property
    def copies(self) -> int: ...  # noqa: D102
    @property
    def delay(self) -> float: ...  # noqa: D102
    @property
    def swap(self) -> bool: ...  # noqa: D102
    @property
    def mute(self) -> bool: ...  # noqa: D102


class StreamFaults(Protocol):
    """Who decides about faults of messages."""

    def stream_plan(self, key_id: str, stream: str, event: str) -> StreamPlan:
        """What to do with the next message of that account, stream and event name."""


class _Parcel(NamedTuple, Generic[M]):
    """A message in the outbox. due: time of the event loop before which it must not be sent."""

    due: float
    message: M


class Connection(ABC, Generic[M]):
    """One client's WebSocket. key_id: whose it is, "" until it has authenticated. Messages are of type M until they are sent.

    Subclasses answer commands (`receive`), turn messages into frames (`encode`) and may produce messages when there is
    nothing left to send (`produce`).
    """

    stream: ClassVar[str]
    outbox_limit: ClassVar[int] = 50_000

    def __init__(self, hub: Hub, websocket: WebSocket) -> None:
        self.hub = hub
        self.world = hub.world
        self.websocket = websocket
        self.key_id = ""
        self.socket = socket_of(websocket.scope)
        self.idle = asyncio.Event()
        self._outbox: deque[_Parcel[M]] = deque()
        self._wake = asyncio.Event()
        self._swapped: M | None = None
        self._muted = False
        self._ending: int | None = None

    @property
    @abstractmethod
    def followed(self) -> bool:
        """Whether the speed `FOLLOW` may go on for this client's sake."""

    @abstractmethod
    def greet(self) -> None:
        """Say what a new client hears first."""

    @abstractmethod
    def receive(self, data: str | bytes) -> None:
        """Act on a frame of the client."""

    @abstractmethod
    def encode(self, messages: list[M]) -> Iterable[str | bytes]:
        """Frames for messages, in order."""

    def on_orders(self, account: Account, events: list[OrderEvent]) -> None:
        """Something happened to orders of the connection's account."""

    def on_clock(self, before: datetime, now: datetime) -> None:
        """The clock moved."""

    def produce(self) -> bool:
        """Post what is still to be told, a little at a time; False when there is nothing."""
        return False

    def post(self, message: M, due: float = 0.0) -> None:
        """Send a message after all that wait already. A client for whom too much waits is cut off."""
        if self._muted or self._ending is not None:
            return
        if len(self._outbox) >= self.outbox_limit:
            self.cut_off("too much waits for it")
            return
        if self._outbox:
            due = max(due, self._outbox[-1].due)
        self._outbox.append(_Parcel(due, message))
        self.idle.clear()
        self._wake.set()

    def post_event(self, event: str, message: M) -> None:
        """Post what faults may spoil: `event` is the name they know it by."""
        faults = self.hub.faults
        plan = None if faults is None else faults.stream_plan(self.key_id, self.stream, event)
        if plan is None:
            self._post_after_swap(message, 1, 0.0)
        elif plan.mute:
            self._muted = True
        elif plan.drop:
            return
        elif plan.swap and self._swapped is None:
            self._swapped = message
        else:
            due = asyncio.get_running_loop().time() + plan.delay if plan.delay else 0.0
            self._post_after_swap(message, max(1, plan.copies), due)

    def end(self, code: int = 1000) -> None:
        """Close the connection after what waits has been sent."""
        if self._ending is None:
            self._ending = code
            self.idle.clear()
            self._wake.set()

    def cut_off(self, reason: str) -> None:
        """Hang up now and forget what waits."""
        _log.warning("stream client cut off", stream=self.stream, reason=reason)
        self._outbox.clear()
        self._ending = 1008
        self.hub.remove(self)
        if self.socket is not None:
            self.socket.abort()
        self._wake.set()

    def authenticate(self, key_id: object, secret: object) -> bool:
        """Whether key and secret open an account; the connection is that account's from then on."""
        for part in (key_id, secret):
            if not (isinstance(part, str) and part.isascii() and 0 < len(part) <= _LONGEST_KEY):
                return False
        try:
            self.world.account(str(key_id), str(secret))
        except ApiError:
            return False
        self.key_id = str(key_id)
        return True

    def more(self) -> None:
        """There may be something to produce."""
        self.idle.clear()
        self._wake.set()

    async def settled(self) -> None:
        """Return when nothing waits for the client and its library has read everything, or when it has gone."""
        await self.idle.wait()
        if self.socket is not None:
            await self.socket.round_trip()

    async def serve(self) -> None:
        """Run the connection to its end."""
        await self.websocket.accept()
        self.hub.add(self)
        sender = asyncio.create_task(self._send_on())
        sender.add_done_callback(self._sender_ended)
        try:
            self.greet()
            while (event := await self.websocket.receive())["type"] != "websocket.disconnect":
                data = event.get("text")
                self.receive(event.get("bytes") or b"" if data is None else data)
        finally:
            self.hub.remove(self)
            self.idle.set()
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sender

    def _post_after_swap(self, message: M, copies: int, due: float) -> None:
        for _ in range(copies):
            self.post(message, due)
        if self._swapped is not None:
            swapped, self._swapped = self._swapped, None
            self.post(swapped, due)

    async def _send_on(self) -> None:
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                if self._outbox:
                    await self._send_due()
                elif self._ending is not None:
                    await self.websocket.close(self._ending)
                    return
                elif not self.produce():
                    self.idle.set()
                    await self._wake.wait()
                    self._wake.clear()

    def _sender_ended(self, sender: asyncio.Task[None]) -> None:
        if not sender.cancelled() and sender.exception() is not None:
            self.cut_off("a message could not be sent")

    async def _send_due(self) -> None:
        """Send what is due, or wait for the first message that will be."""
        now = asyncio.get_running_loop().time()
        due: list[M] = []
        while self._outbox and self._outbox[0].due <= now and len(due) < 1_000:
            due.append(self._outbox.popleft().message)
        for frame in self.encode(due):
            await self.websocket.send({"type": "websocket.send", "text" if isinstance(frame, str) else "bytes": frame})
        if due:
            await asyncio.sleep(0)
        else:
            await asyncio.sleep(self._outbox[0].due - now)


class Hub:
    """Every open connection, and what the world tells them. Registers itself with the world.

    auth_seconds: how long a client of market data may take to authenticate. backlog_minutes: how many minutes of the tape may
    wait for one client.
    """

    def __init__(self, world: World, *, auth_seconds: float = AUTH_SECONDS, backlog_minutes: int = BACKLOG_MINUTES) -> None:
        self.world = world
        self.auth_seconds = auth_seconds
        self.backlog_minutes = backlog_minutes
        self.connections: dict[Connection[Any], None] = {}
        world.listeners.append(self)

    @property
    def faults(self) -> StreamFaults | None:
        """Who decides about faults; None where the world knows none."""
        return self.world.faults

    @property
    def followed(self) -> bool:
        """Whether a client is there for whose sake the clock of speed `FOLLOW` goes on."""
        return any(connection.followed for connection in self.connections)

    def add(self, connection: Connection[Any]) -> None:
        """A connection was opened."""
        self.connections[connection] = None

    def remove(self, connection: Connection[Any]) -> None:
        """A connection is over."""
        self.connections.pop(connection, None)

    def of(self, key_id: str, stream: str) -> list[Connection[Any]]:
        """The authenticated connections of an account to one kind of stream; of all accounts for key_id ""."""
        return [c for c in self.connections if c.key_id and key_id in {"", c.key_id} and c.stream == stream]

    def disconnect(self, key_id: str, stream: str, *, abrupt: bool = False) -> int:
        """Close the connections of an account ("" for all) to a stream; returns how many.

        abrupt: without a closing handshake.
        """
        chosen = self.of(key_id, stream)
        for connection in chosen:
            if abrupt:
                connection.cut_off("asked for")
            else:
                connection.end(1012)
        return len(chosen)

    def on_orders(self, account: Account, events: list[OrderEvent]) -> None:
        """Tell the account's own connections."""
        for connection in list(self.connections):
            if connection.key_id and connection.key_id == account.key_id:
                connection.on_orders(account, events)

    def on_clock(self, before: datetime, now: datetime) -> None:
        """Tell every connection that the clock moved."""
        for connection in list(self.connections):
            connection.on_clock(before, now)

    async def settled(self) -> None:
        """Return when every client has read all that was sent to it."""
        for connection in list(self.connections):
            if connection.key_id:
                await connection.settled()
