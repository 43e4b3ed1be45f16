"""How gunicorn serves the API: one process, eight threads, everything from settings and GUNICORN_* variables."""

import json
import os
import socket
import struct
import sys
import uuid
from logging import getLogger
from typing import Any

from gunicorn import util
from gunicorn.glogging import Logger

from app.config import settings
from app.domain.errors import ConfigurationError
from app.runtime import log, metrics

try:
    _settings = settings()
except ConfigurationError as _fault:
    sys.exit(_fault.message)
log.configure(_settings, "api")

_host = f"[{_settings.api_host}]" if ":" in _settings.api_host else _settings.api_host
bind = os.environ.get("GUNICORN_BIND", f"{_host}:{_settings.api_port}")
worker_class = "gthread"
workers = int(os.environ.get("GUNICORN_WORKERS", "1"))
threads = int(os.environ.get("GUNICORN_THREADS", "8"))
timeout = int(os.environ.get("GUNICORN_TIMEOUT", "60"))
graceful_timeout = int(os.environ.get("GUNICORN_GRACEFUL_TIMEOUT", "8"))
keepalive = int(os.environ.get("GUNICORN_KEEPALIVE", "5"))
preload_app = False  # database engines and sockets must not be shared across a fork
control_socket_disable = True  # it would be opened in the home directory
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
accesslog = None  # the application logs each request with its id
_receive_seconds = int(os.environ.get("GUNICORN_RECEIVE_SECONDS", "10"))
proc_name = "alpha-trader-api"


class StructuredLogger(Logger):  # type: ignore[misc]
    """Hands gunicorn's messages to our log instead of formatting them itself."""

    def setup(self, cfg: Any) -> None:
        """Leave the handlers to the root logger."""
        self.cfg = cfg
        self.error_log = getLogger("gunicorn.error")
        self.access_log = getLogger("gunicorn.access")
        for logger in (self.error_log, self.access_log):
            logger.handlers.clear()
            logger.propagate = True

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """A fault inside gunicorn, with its traceback; a client that stopped sending is no fault."""
        if isinstance(sys.exc_info()[1], BlockingIOError):
            self.error_log.info("a client stopped in the middle of a request")
        else:
            self.error_log.exception(msg, *args, **kwargs)

    def reopen_files(self) -> None:
        """No files of its own."""


logger_class = StructuredLogger


def _json_error(client: Any, status: int, reason: str, message: str) -> None:
    body = json.dumps(
        {
            "error": {
                "code": reason.lower().replace(" ", "_"),
                "message": message or reason,
                "hint": "The request could not be read as HTTP; the paths and their parameters are listed at /openapi.",
                "details": {},
                "request_id": uuid.uuid4().hex,
            }
        }
    )
    head = (
        f"HTTP/1.1 {status} {reason}",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    util.write_nonblock(client, "\r\n".join((*head, "", body)).encode("latin-1"))


util.write_error = _json_error  # what is refused before the application sees it has the one shape of an error too


def when_ready(server: Any) -> None:
    """The server listens: connections that stop in the middle of a request are dropped, or eight of them would hold all
    threads for ever. Accepted connections inherit the limit; gunicorn itself has none for this kind of worker."""
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", _receive_seconds, 0))


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """A worker ended: its live readings end with it."""
    metrics.forget_process(worker.pid)
