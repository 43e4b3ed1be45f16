"""Alpaca's stream of trade updates through the unmodified alpaca-py client, in a thread of its own.

The client loses what its handler raises, tells nobody that it is connected, and waits for ever where a server accepts the
connection and then says nothing. So the handler only passes messages on, the acknowledgement of the subscription is passed on
too (from then on nothing is missed), and whoever reads can ask when the peer was last heard and have the connection made anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Mapping
from typing import Any

import structlog

from app.brokers.alpaca import trade_update
from app.domain.trade_update import Listening, Told, Unreadable

log = structlog.get_logger()

PING_SECONDS = 5.0
PONG_SECONDS = 10.0  # the client's default of 180 would leave a cut connection unnoticed for three minutes
_WAITING_MESSAGES = 10_000


class AlpacaStream:
    """One connection, made again whenever it ends. `open` it, then read `next` from one thread."""

    def __init__(self, *, key: str, secret: str, url: str, paper: bool) -> None:
        self._messages: queue.Queue[Told] = queue.Queue(_WAITING_MESSAGES)
        self._heard_at: float | None = None
        self._is_listening = False
        self._client = _client(self, key=key, secret=secret, url=url, paper=paper)
        self._thread: threading.Thread | None = None

    @property
    def is_listening(self) -> bool:
        """Whether the venue has acknowledged that it tells us what happens from now on."""
        return self._is_listening

    def heard_seconds_ago(self) -> float | None:
        """Since the peer last said anything, an answer to a ping included; None before the first time."""
        return None if self._heard_at is None else time.monotonic() - self._heard_at

    def open(self) -> None:
        """Begin to connect; returns at once."""
        self._thread = threading.Thread(target=self._client.run, name="trade-updates", daemon=True)
        self._thread.start()

    def next(self, timeout_seconds: float) -> Told | None:
        """The next thing told, None after so long."""
        try:
            return self._messages.get(timeout=timeout_seconds)
        except queue.Empty:
            return None

    def reconnect(self) -> None:
        """End this connection, whatever state it is in; the client makes the next after a pause of 1 to 30 s."""
        self._in_loop(self._client.close)

    def close(self) -> None:
        """End for good."""
        self._in_loop(self._client.stop_ws)
        self._in_loop(self._client.close)
        if self._thread is not None:
            self._thread.join(2.0)

    def heard(self) -> None:
        """The peer said something."""
        self._heard_at = time.monotonic()

    def tell(self, told: Told) -> None:
        """Pass it on. A reader that is thousands behind is told to look for itself instead."""
        try:
            self._messages.put_nowait(told)
        except queue.Full:
            with contextlib.suppress(queue.Empty):
                while True:
                    self._messages.get_nowait()
            self._messages.put_nowait(Unreadable(reason="too many messages waited"))

    def connection_changed(self, *, is_listening: bool) -> None:
        """It was acknowledged, or it has ended."""
        self._is_listening = is_listening

    def _in_loop(self, call: Any) -> None:
        loop = self._client._loop
        if loop is not None and loop.is_running():
            asyncio.run_coroutine_threadsafe(call(), loop)


def _client(stream: AlpacaStream, *, key: str, secret: str, url: str, paper: bool) -> Any:
    from alpaca.trading.stream import TradingStream

    class Client(TradingStream):
        """alpaca-py's own, overheard."""

        async def _connect(self) -> None:
            await super()._connect()
            self._pinging = asyncio.ensure_future(_ping(stream, self._ws))

        async def _dispatch(self, msg: Mapping[str, Any]) -> None:
            stream.heard()
            if msg.get("stream") == "listening":
                stream.connection_changed(is_listening=True)
                stream.tell(Listening())
            await super()._dispatch(msg)

        async def close(self) -> None:
            stream.connection_changed(is_listening=False)
            await super().close()

    async def pass_on(message: Mapping[str, Any]) -> None:
        stream.tell(_read(message))

    client = Client(
        key,
        secret,
        paper=paper,
        raw_data=True,
        url_override=url,
        websocket_params={"ping_interval": PING_SECONDS, "ping_timeout": PONG_SECONDS, "close_timeout": 2, "max_queue": 1024},
    )
    client.subscribe_trade_updates(pass_on)
    return client


async def _ping(stream: AlpacaStream, socket: Any) -> None:
    """Measures that the peer is there; the client's own pings end the connection when it is not."""
    with contextlib.suppress(Exception):  # the connection has ended, which its reader notices by itself
        while True:
            await (await socket.ping())
            stream.heard()
            await asyncio.sleep(PING_SECONDS)


def _read(message: Mapping[str, Any]) -> Told:
    try:
        return trade_update(message["data"])
    except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError) as fault:
        log.warning("trade_update_unreadable", error=f"{type(fault).__name__}: {fault}")
        return Unreadable(reason=f"{type(fault).__name__}: {fault}")
