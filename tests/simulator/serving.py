"""An exchange served on a free port from a thread of the test, and a client of it that keeps no connection."""

import json
import socket
from contextlib import contextmanager

import requests

from app.simulator.server import build_app

from . import conftest
from .conftest import KEYS


@contextmanager
def served(options):
    """A client of an exchange that runs until the block ends."""
    with conftest.served(build_app(options)) as address:
        yield Client(address)


class Client:
    """Requests to an exchange, each on a connection of its own."""

    def __init__(self, url):
        self.url = url
        self.port = int(url.rsplit(":", 1)[1])

    def call(self, method, path, body=None, *, headers=KEYS, timeout=20):
        return requests.request(method, self.url + path, json=body, headers=headers, timeout=timeout, allow_redirects=False)

    def get(self, path, **how):
        return self.call("GET", path, **how)

    def sim(self, method, path, body=None, *, status=200):
        """The JSON of a control route."""
        answer = self.call(method, path, body, headers={})
        assert answer.status_code == status, answer.text
        return answer.json()

    def order(self, **fields):
        fields = {
            "symbol": "ACME",
            "side": "buy",
            "type": "limit",
            "limit_price": "1",
            "qty": 1,
            "time_in_force": "gtc",
            **fields,
        }
        return self.call("POST", "/v2/orders", fields)

    def fault(self, what, **fields):
        return self.sim("POST", "/sim/faults", {"what": what, **fields}, status=201)["id"]

    def client_ids(self):
        return [order["client_order_id"] for order in self.sim("GET", "/sim/ledger")["orders"]]

    def open_socket(self, method, path, body=None, *, headers=KEYS):
        """A socket on which the request has been sent."""
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
        return connection
