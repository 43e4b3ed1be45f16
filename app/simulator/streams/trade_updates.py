"""The trade-updates stream (/stream): what happens to an account's orders, as it happens.

Clients send JSON in text or binary frames; the exchange answers in binary frames, as Alpaca's paper account does. A client
authenticates, then listens; several connections of one account are all told everything. What happened while no connection
listened is not told later: REST knows it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import ClassVar, NamedTuple

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from app.simulator import wire
from app.simulator.accounts.account import Account
from app.simulator.accounts.ledger import Ledger, OrderEvent
from app.simulator.api import wire_orders
from app.simulator.streams.hub import TRADE_UPDATES, Connection
from app.simulator.wire import Json


class Update(NamedTuple):
    """An event that waits to be told, and the ledger it is from."""

    event: OrderEvent
    ledger: Ledger


class TradeUpdates(Connection[Json | Update]):
    """A client of /stream. Events wait as they are and are written out when they are sent."""

    stream: ClassVar[str] = TRADE_UPDATES
    listens = False
    """Whether the client asked to be told."""

    @property
    def followed(self) -> bool:
        """Never: the clock follows clients of market data."""
        return False

    def greet(self) -> None:
        """Nothing: the client speaks first."""

    def receive(self, data: str | bytes) -> None:
        """Authenticate or listen; anything else is answered with an error and changes nothing."""
        try:
            command = json.loads(data)
        except (ValueError, RecursionError):
            command = None
        match command:
            case {"action": "authenticate", "data": {"key_id": key_id, "secret_key": secret}}:
                self._authenticate(key_id, secret)
            case {"action": "auth" | "authenticate", "key": key_id, "secret": secret}:
                self._authenticate(key_id, secret)
            case {"action": "listen", "data": {"streams": list(streams)}}:
                self._listen(streams)
            case _:
                self.post({"stream": "error", "data": {"error_message": "invalid syntax"}})

    def on_orders(self, account: Account, events: list[OrderEvent]) -> None:
        """Tell them, if the client listens."""
        if self.listens:
            for event in events:
                self.post_event(event.event, Update(event, account.ledger))

    def encode(self, messages: list[Json | Update]) -> Iterable[bytes]:
        """A frame each."""
        for message in messages:
            content = trade_update(message) if isinstance(message, Update) else message
            yield json.dumps(content, separators=(",", ":")).encode()

    def _authenticate(self, key_id: object, secret: object) -> None:
        status = "authorized" if self.authenticate(key_id, secret) else "unauthorized"
        self.post({"stream": "authorization", "data": {"status": status, "action": "authenticate"}})

    def _listen(self, streams: list[object]) -> None:
        """The list replaces the one before; streams that do not exist are left out of the answer."""
        if not self.key_id:
            self.post({"stream": "authorization", "data": {"status": "unauthorized", "action": "listen"}})
            return
        self.listens = TRADE_UPDATES in streams
        self.post({"stream": "listening", "data": {"streams": [TRADE_UPDATES] if self.listens else []}})


def trade_update(update: Update) -> Json:
    """An event as the stream tells it. execution_id: the execution's own for fills, else the id of the event."""
    event, ledger = update
    order, fill = event.order, event.fill
    event_id = ledger.name("event", order.id, event.event, event.at.isoformat(), order.filled_quantity)
    data: Json = {
        "event": event.event,
        "event_id": event_id,
        "execution_id": event_id if fill is None else fill.execution_id,
        "order": wire_orders.order(order),
        "timestamp": wire.instant(event.at),
    }
    if fill is not None:
        data |= {
            "price": wire.text(fill.price),
            "qty": wire.text(fill.quantity),
            "position_qty": wire.text(event.position_quantity),
        }
    return {"stream": TRADE_UPDATES, "data": data}


async def serve_trade_updates(websocket: WebSocket) -> None:
    """The endpoint."""
    await TradeUpdates(websocket.app.state.hub, websocket).serve()


ROUTES = [WebSocketRoute("/stream", serve_trade_updates)]
