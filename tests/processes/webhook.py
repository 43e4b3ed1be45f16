"""Discord as the machine sees it: a proxy on this machine that answers for discord.com with a certificate of its own.

The product runs unchanged; only the standard variables of its environment (HTTPS_PROXY, REQUESTS_CA_BUNDLE) lead it here.
"""

from __future__ import annotations

import json
import shutil
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

ADDRESS = "https://discord.com/api/webhooks/123456789012345678/Abc-def_Abc-def_Abc-def_"


@dataclass
class Discord:
    """What was posted, and the wall time of each post. silent: takes posts and never answers."""

    environment: dict[str, str]
    silent: bool = False
    posts: list[str] = field(default_factory=list)
    arrived: list[datetime] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def text(self) -> str:
        return "\n".join(self.posts)


@contextmanager
def discord(directory: Path, *, silent: bool = False) -> Iterator[Discord]:
    """Serve it. environment: what leads a process to it."""
    key, certificate = _certificate(directory)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            if not self.rfile.readline().startswith(b"CONNECT discord.com:443 "):
                return
            while self.rfile.readline().strip():
                pass
            self.connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with tls.wrap_socket(self.connection, server_side=True) as secured, secured.makefile("rb") as lines:
                lines.readline()
                headers = _headers(lines)
                body: dict[str, Any] = json.loads(lines.read(int(headers["content-length"])))
                here.arrived.append(datetime.now(UTC))
                here.posts.append(body["content"])
                if here.silent:
                    here.ended.wait(60)
                else:
                    secured.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            """A client that hangs up is none of our business."""

    with Server(("127.0.0.1", 0), Handler) as server:
        here = Discord(
            environment={
                "DISCORD_WEBHOOK_URL": ADDRESS,
                "HTTPS_PROXY": f"http://127.0.0.1:{server.server_address[1]}",
                "NO_PROXY": "127.0.0.1,localhost",
                "REQUESTS_CA_BUNDLE": str(certificate),
            },
            silent=silent,
        )
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield here
        finally:
            here.ended.set()
            server.shutdown()


def _headers(lines: Any) -> dict[str, str]:
    headers = {}
    while line := lines.readline().strip():
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return headers


def _certificate(directory: Path) -> tuple[Path, Path]:
    """A key and a certificate for discord.com that vouches for itself."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed: no certificate can be made")
    key, certificate = directory / "discord.key", directory / "discord.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=discord.com", "-addext", "subjectAltName=DNS:discord.com"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True, timeout=30)
    return key, certificate
