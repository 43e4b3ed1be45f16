"""The TCP connection behind a request, so that a fault can cut it as a broken network does."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TRANSPORT = "transport"


class DisturbableProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with its transport at hand in the state of each request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Remember the transport for this connection's requests."""
        self.app_state = {**self.app_state, _TRANSPORT: transport}
        super().connection_made(transport)


def reset(scope: Scope) -> None:
    """Cut the connection with a TCP reset, whatever is still unsent."""
    transport = _transport(scope)
    if transport.is_closing():
        return
    connection: Any = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def close(scope: Scope) -> None:
    """End the connection in order, after what is still unsent."""
    _transport(scope).close()


def _transport(scope: Scope) -> asyncio.Transport:
    transport: asyncio.Transport | None = scope.get("state", {}).get(_TRANSPORT)
    if transport is None:
        raise RuntimeError("the server was not started with DisturbableProtocol; app.simulator.server.configured does that")
    return transport
