from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Webhook:
    """A webhook on this machine. behaviour: ok, or how it fails."""

    url: str = ""
    behaviour: str = "ok"
    posts: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    from apprise.plugins.discord import NotifyDiscord

    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            hook.paths.append(self.path)
            if hook.behaviour == "drip":
                self.send_response(200)
                self.end_headers()
                try:
                    for _ in range(60):
                        self.wfile.write(b" ")
                        self.wfile.flush()
                        time.sleep(0.05)
                except OSError:
                    return
            elif hook.behaviour == "redirect":
                self.send_response(302)
                self.send_header("Location", f"{hook.url}/elsewhere")
                self.end_headers()
            elif hook.behaviour != "ok":
                self.send_error(int(hook.behaviour))
            else:
                hook.posts.append(body)
                self.send_response(204)
                self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hook.url = f"http://127.0.0.1:{server.server_port}/api/webhooks"
    monkeypatch.setattr(NotifyDiscord, "notify_url", hook.url)
    yield hook
    server.shutdown()
    server.server_close()
