"""What the tests of deadlines share: figures, the log of the exchange, and the ways to throw the kill switch."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from app.local.broker_server import free_port
from tests.faults.controller import ROOT, Stack
from tests.faults.controller_process import KEY, SYMBOLS
from tests.trading.exchange import Exchange

LONG = os.environ.get("FAULTS") == "long"
_HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""
Throw = Callable[[], None]


def judge(what: str, taken: Sequence[float], bound: float = 60.0) -> None:
    """Prints a figure and fails where a round took longer than the bound; all in seconds."""
    print(f"{what}: median {statistics.median(taken):.1f} s, worst {max(taken):.1f} s, n {len(taken)}, bound {bound:.0f} s")
    assert max(taken) <= bound


def received(venue: Exchange, since: datetime) -> list[dict[str, Any]]:
    """Requests of the product that arrived after an instant of wall time, oldest first."""
    wanted = {"limit": 1000, "reads": "true"}
    found = requests.get(f"{venue.url}/sim/requests", params=wanted, timeout=30).json()["requests"]
    return [one for one in found if instant(one["received_at"]) > since]


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def held_database(file: Path) -> Iterator[None]:
    """Another process holds the right to write and does not let go."""
    process = subprocess.Popen([sys.executable, "-c", _HOLDER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    try:
        yield
    finally:
        process.kill()
        process.communicate()


@contextmanager
def by_file(stack: Stack) -> Iterator[Throw]:
    """A person creates the file; the trading process watches it as the product's worker does."""
    yield lambda: (stack.directory / "KILL").write_text("by hand") and None


@contextmanager
def by_rest(stack: Stack) -> Iterator[Throw]:
    """The API as a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "gunicorn_config.py"), "app.wsgi:app"]
    with (stack.directory / "api.log").open("w") as log:
        environment = _environment(stack) | {"API_PORT": str(port)}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}/api"
    try:
        headers = {"Authorization": f"Bearer {_token(address)}"}
        yield lambda: requests.post(
            f"{address}/risk/kill", json={"reason": "drill"}, headers=headers, timeout=60
        ).raise_for_status()
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def by_command(stack: Stack) -> Iterator[Throw]:
    """`trader risk kill`; seconds of it are Python starting."""
    command = [sys.executable, "-m", "app.cli", "risk", "kill", "--reason", "drill"]
    yield (
        lambda: (
            subprocess.run(command, cwd=ROOT, env=_environment(stack), check=True, timeout=120, capture_output=True) and None
        )
    )


def _token(address: str) -> str:
    deadline = time.monotonic() + 120
    while True:
        try:
            answer = requests.post(f"{address}/auth/login", json={"username": "admin", "password": "password"}, timeout=20)
            return str(answer.json()["access_token"])
        except (requests.ConnectionError, requests.Timeout):
            assert time.monotonic() < deadline, "the API did not start"
            time.sleep(0.1)


def _environment(stack: Stack) -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": str(ROOT),
        "TRADING_MODE": "simulated",
        "WATCHLIST": " ".join(SYMBOLS),
        "ALPACA_TRADING_URL": stack.venue.url,
        "ALPACA_DATA_URL": stack.venue.url,
        "ALPACA_API_KEY": KEY,
        "ALPACA_API_SECRET": "secret",
        "DATABASE_URL": stack.database_url,
        "STATE_DIR": str(stack.directory),
        "LOGS_DIR": str(stack.directory / "logs"),
        "REDIS_URL": "redis://127.0.0.1:1/0",  # nobody there
    }
