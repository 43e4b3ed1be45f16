"""What was logged, whichever test configured the log before."""

from __future__ import annotations

import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog
from structlog.testing import capture_logs


@contextmanager
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """Every line of the product's loggers meanwhile. Those that keep a configuration from before forget it."""
    before = structlog.get_config()
    structlog.reset_defaults()
    for name, module in list(sys.modules.items()):
        if name.startswith("app."):
            for value in vars(module).values():
                if hasattr(type(value), "bind") and isinstance(getattr(value, "__dict__", None), dict):
                    value.__dict__.pop("bind", None)
    try:
        with capture_logs() as lines:
            yield lines
    finally:
        structlog.configure(**before)
