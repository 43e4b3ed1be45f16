"""The exit monitor as the process it is, beside the scene of a test."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.exits.guarding import Scene

PAPER = {"TRADING_MODE": "paper", "SECRET_KEY": "7b1f0c92e4a85d36b0e97a14c853f26d", "ADMIN_PASSWORD": "four-Blue-kettles"}


@contextmanager
def guard(scene: Scene, directory: Path, database_file: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m app.guard` without queue, worker or Redis; killed on the way out. PAPER among settings: in real time."""
    environment = {
        **{name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "PYTHONPATH", "LANG"}},
        "TRADING_MODE": "simulated",
        "ALPACA_TRADING_URL": scene.exchange.url,
        "ALPACA_DATA_URL": scene.exchange.url,
        "ALPACA_API_KEY": "k",
        "ALPACA_API_SECRET": "s",
        "WATCHLIST": "ACME",
        "DATABASE_URL": f"sqlite:///{database_file}",
        "STATE_DIR": str(directory),
        "LOGS_DIR": str(directory / "logs"),
        "REDIS_URL": "redis://:9f31c7a2e8d04b65@127.0.0.1:1/0",  # nobody there
        **settings,
    }
    database_file.chmod(0o600)  # a copy has the rights of any file; with PAPER that is refused
    process = subprocess.Popen(
        [sys.executable, "-m", "app.guard"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def until(check: Callable[[], object], seconds: float = 90.0) -> float:
    """Seconds until `check()` holds; fails when that takes longer than `seconds`."""
    began = time.monotonic()
    while not check():
        assert time.monotonic() - began < seconds, "it did not happen"
        time.sleep(0.05)
    return time.monotonic() - began
