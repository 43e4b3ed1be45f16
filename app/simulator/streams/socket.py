"""uvicorn's WebSocket protocol with two more abilities: to learn that the client has read all, and to hang up at once."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame

_STATE = "stream_socket"


class StreamSocket(WebSocketsSansIOProtocol):
    """One WebSocket. The application finds it with `socket_of`: uvicorn copies `app_state` into the scope of the connection."""

    def __init__(self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, {**app_state, _STATE: self})
        self._trips: dict[bytes, asyncio.Future[None]] = {}
        self._pings = 0

    async def round_trip(self) -> None:
        """Return when the client's library has read all that was sent (it answers pings in turn), or when it has gone."""
        await self.writable.wait()
        if self.disconnected or self.close_sent or self.transport.is_closing():
            return
        self._pings += 1
        name = b"trip %d" % self._pings
        arrived = self._trips[name] = self.loop.create_future()
        self.conn.send_ping(name)
        self.transport.write(b"".join(self.conn.data_to_send()))
        try:
            await arrived
        finally:
            self._trips.pop(name, None)

    def abort(self) -> None:
        """Hang up without a closing handshake; what is unsent is lost."""
        self.transport.abort()

    def handle_pong(self, event: Frame) -> None:
        """RFC 6455, 5.5.3: an answer to a ping stands for all pings before it."""
        name = bytes(event.data)
        if name not in self._trips:
            super().handle_pong(event)
            return
        for earlier, arrived in self._trips.items():
            if not arrived.done():
                arrived.set_result(None)
            if earlier == name:
                break

    def handle_close(self, event: Frame) -> None:
        """The client said goodbye: no answer will come any more."""
        self._end_trips()
        super().handle_close(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone: nobody waits for it any more."""
        self._end_trips()
        super().connection_lost(exc)

    def _end_trips(self) -> None:
        for arrived in self._trips.values():
            if not arrived.done():
                arrived.set_result(None)


# No compression (it costs more than loopback saves) and no pings of the server's own: a client may think for minutes.
WEBSOCKET_SETTINGS: dict[str, Any] = {
    "ws": StreamSocket,
    "ws_max_size": 1 << 20,
    "ws_per_message_deflate": False,
    "ws_ping_interval": None,
}


def socket_of(scope: Any) -> StreamSocket | None:
    """The socket behind an ASGI scope; None where another server runs the application."""
    found = scope.get("state", {}).get(_STATE)
    return found if isinstance(found, StreamSocket) else None
