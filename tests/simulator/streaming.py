"""A served exchange with short words for its routes, and plain WebSocket clients of its streams."""

import concurrent.futures
import contextlib
import json
import socket
import threading
import time
from typing import NamedTuple

import msgpack
import requests
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from app.simulator.server import SimulatorOptions, build_app

from .conftest import served

SECONDS = 20
PACKED = {"Content-Type": "application/msgpack"}
UPGRADE = (
    b"GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def text_frame(command):
    """A client's frame of JSON, as it is on the wire."""
    return Frame(Opcode.TEXT, json.dumps(command).encode()).serialize(mask=True)


class Exchange:
    """A served exchange. Every request is made with `key`, "secret"."""

    def __init__(self, app, address):
        self.app, self.address = app, address
        self.world, self.hub = app.state.world, app.state.hub
        self._session = requests.Session()

    def __call__(self, method, path, key="key", **body):
        headers = {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": "secret"}
        query = {"params": body} if method == "GET" else {"json": body}
        answer = self._session.request(method, self.address + path, headers=headers, timeout=SECONDS, **query)
        assert answer.ok, answer.text
        return answer.json() if answer.content else None

    def move(self, **body):
        return self("POST", "/sim/clock", **body)

    def buy(self, symbol="ACME", key="key", **fields):
        fields = {"side": "buy", "type": "market", "time_in_force": "gtc", "qty": 1, **fields}
        return self("POST", "/v2/orders", key, symbol=symbol, **fields)

    def open(self, path, headers=None):
        return connect(
            self.address.replace("http", "ws") + path, additional_headers=headers, open_timeout=SECONDS, close_timeout=1
        )

    @property
    def loop(self):
        """The event loop of the server; there must be a connection."""
        return next(iter(self.hub.connections)).socket.loop

    @contextlib.contextmanager
    def deaf(self, path, *commands):
        """A WebSocket that sends commands and reads nothing: the bare TCP socket."""
        host, port = self.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), SECONDS) as raw:
            raw.sendall(UPGRADE % path.encode())
            assert raw.recv(12) == b"HTTP/1.1 101"
            for command in commands:
                raw.sendall(text_frame(command))
            yield raw

    def in_loop(self, act):
        """Do something in the event loop of the server; returns what it returns."""
        done = concurrent.futures.Future()
        self.loop.call_soon_threadsafe(lambda: done.set_result(act()))
        return done.result(SECONDS)

    def until(self, condition):
        """Wait until `condition()` holds."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, "what was waited for did not happen"
            time.sleep(0.002)

    @contextlib.contextmanager
    def data(self, feed="/v2/iex", key="key", *, headers=None, **wanted):
        """An authenticated client of market data, subscribed to `wanted`."""
        with self.open(feed, headers) as opened:
            client = Client(opened, packed=headers == PACKED)
            client.say(action="auth", key=key, secret="secret")
            client.say(action="subscribe", **wanted)
            client.until(lambda seen: any(m["T"] == "subscription" for m in seen))
            yield client

    @contextlib.contextmanager
    def updates(self, key="key"):
        """A client that listens to trade updates."""
        with self.open("/stream") as opened:
            client = Client(opened)
            client.say(action="authenticate", data={"key_id": key, "secret_key": "secret"})
            client.say(action="listen", data={"streams": ["trade_updates"]})
            client.until(lambda seen: any(m["stream"] == "listening" for m in seen))
            yield client


@contextlib.contextmanager
def exchange(*, hub=None, **options):
    """An exchange on a free port; hub: settings of its hub."""
    app = build_app(SimulatorOptions(**options))
    for name, value in (hub or {}).items():
        setattr(app.state.hub, name, value)
    with served(app) as address:
        yield Exchange(app, address)


class Ended(NamedTuple):
    """How a connection ended."""

    code: int


class Client:
    """Says things, and keeps what it hears: `seen`, single messages in order; `ended`, once the connection is over."""

    def __init__(self, socket, *, packed=False):
        self.socket, self.packed, self.seen, self.frames, self.ended = socket, packed, [], [], None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def say(self, **command):
        self.socket.send(msgpack.packb(command) if self.packed else json.dumps(command))

    def until(self, condition, what="what was waited for"):
        """Wait until `condition(seen)` holds; returns what was seen."""
        deadline = time.monotonic() + SECONDS
        while not condition(self.seen):
            assert time.monotonic() < deadline, f"{what} did not come; seen: {str(self.seen)[:2000]}"
            time.sleep(0.002)
        return self.seen

    def heard(self, count):
        """Wait for `count` messages in all."""
        return self.until(lambda seen: len(seen) >= count, f"message {count}")

    def end(self):
        """Wait for the end of the connection."""
        self.until(lambda _: self.ended is not None, "the end")
        return self.ended

    def of(self, *kinds):
        """Market data messages seen, of those types."""
        return [m for m in list(self.seen) if m["T"] in kinds]

    def bars(self, count):
        """Wait for `count` minute bars in all."""
        return self.until(lambda _: len(self.of("b")) >= count, f"bar {count}")

    def events(self):
        """Trade updates seen."""
        return [m["data"] for m in list(self.seen) if m["stream"] == "trade_updates"]

    def _read(self):
        try:
            for frame in self.socket:
                self.frames.append(type(frame))
                content = msgpack.unpackb(frame, timestamp=3) if self.packed else json.loads(frame)
                self.seen += content if isinstance(content, list) else [content]
        except ConnectionClosed:
            pass
        self.ended = Ended(self.socket.close_code)
