"""Structured logs: one JSON object a line, with the ids of what was being done, without secrets.

Everything that logs through the standard library (gunicorn, Celery, SQLAlchemy) goes the same way.
"""

from __future__ import annotations

import logging
import logging.handlers
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
from structlog.typing import Processor

from app.runtime.redaction import Redactor, secrets_of

LARGEST_FILE_BYTES = 10 * 1024 * 1024
KEPT_FILES = 5
# Their chatter tells nothing about trading, and at debug level some print addresses with keys in them.
_QUIET = ("apprise", "urllib3", "werkzeug", "kombu", "amqp", "asyncio", "numba", "celery.redirected", "matplotlib")


def configure(settings: Any, role: str, *, to_file: bool = False) -> None:
    """Send all logs of this process to standard output, as JSON, or readable when that is a terminal.

    settings: app.config.Settings (log_level, logs_dir, and the secrets to hide). role: name of the process, in every
    line. to_file: also write JSON lines to <logs_dir>/<role>.jsonl, kept to five files of 10 MB.
    """
    level = logging.getLevelNamesMapping().get(str(settings.log_level).upper(), logging.INFO)
    redactor = Redactor(secrets_of(settings))

    def add_role(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("role", role)
        return event

    def hide_secrets(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {name: redactor.value({name: value})[name] for name, value in event.items()}

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_role,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )

    def formatter(renderer: Processor) -> logging.Formatter:
        meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
        return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[meta, hide_secrets, renderer])

    json_lines = structlog.processors.JSONRenderer(sort_keys=False, default=str)
    readable = structlog.dev.ConsoleRenderer(pad_event_to=24, exception_formatter=structlog.dev.plain_traceback)
    screen = logging.StreamHandler(sys.stdout)
    screen.setFormatter(formatter(readable if sys.stdout.isatty() else json_lines))
    handlers: list[logging.Handler] = [screen]
    if to_file:
        handlers.append(_file(settings.logs_dir, role, formatter(json_lines)))
    root = logging.getLogger()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def bind(**values: object) -> None:
    """Put `values` (cycle_id, client_order_id, request_id) into every line logged from here on in this context."""
    structlog.contextvars.bind_contextvars(**values)


def unbind_all() -> None:
    """Forget what was bound."""
    structlog.contextvars.clear_contextvars()


@contextmanager
def bound(**values: object) -> Iterator[None]:
    """Put `values` into every line logged inside the block."""
    with structlog.contextvars.bound_contextvars(**values):
        yield


def _file(directory: Path, role: str, formatter: logging.Formatter) -> logging.Handler:
    directory.mkdir(parents=True, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(
        directory / f"{role}.jsonl", maxBytes=LARGEST_FILE_BYTES, backupCount=KEPT_FILES - 1, encoding="utf-8", delay=True
    )
    handler.setFormatter(formatter)
    return handler
