"""The product in the paper mode, which runs in real time, against an exchange of the test: cycles every few seconds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from app.local.broker_server import free_port
from tests.processes.installation import ROOT, SYMBOLS, Installation, installed

CYCLE_SECONDS = 5


@dataclass
class Paper(Installation):
    """`trader up` in the paper mode. venue: the address of its exchange."""

    venue: str = ""

    @property
    def run(self) -> Path:
        return self.directory / "database"

    def slots(self) -> list[str]:
        """Slots of the cycles that did their work."""
        return [slot for (slot,) in self.ledger("SELECT slot FROM cycles WHERE outcome = 'completed' ORDER BY slot")]

    def ready(self) -> dict[str, Any]:
        """The readiness report, whatever its status."""
        answer = requests.get(f"http://127.0.0.1:{self.port}/api/ready", timeout=20).json()
        return answer["error"]["details"] if "error" in answer else answer

    def venues_orders(self) -> list[dict[str, Any]]:
        """Orders at the exchange that nobody else's order brought along."""
        return requests.get(f"{self.venue}/sim/ledger", timeout=20).json()["orders"]


@contextmanager
def paper(
    directory: Path, forecasts: dict[str, float], environment: Mapping[str, str] | None = None, *arguments: str
) -> Iterator[Paper]:
    """Start the exchange, open it, then the product; all of it is stopped on the way out."""
    port = free_port()
    venue = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "app.cli", "simulator", "--port", str(port), "--speed", "1", "--multiplier", "1"]
    command += ["--symbols", SYMBOLS]
    log = (directory / "exchange.txt").open("w")
    exchange = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log)
    try:
        _open(venue)
        variables = {
            "TRADING_MODE": "paper",
            "TRADING_CYCLE_SECONDS": str(CYCLE_SECONDS),
            "NIGHTLY_LEARNING": "false",
            "ALPACA_API_KEY": "k",
            "ALPACA_API_SECRET": "s",
            "ALPACA_TRADING_URL": venue,
            "ALPACA_DATA_URL": venue,
            "ALPACA_TRADING_STREAM_URL": venue.replace("http", "ws") + "/stream",
            "ALPACA_REQUESTS_PER_MINUTE": "10000",
            "SECRET_KEY": "7b1f0c92e4a85d36b0e97a14c853f26d",
            "ADMIN_PASSWORD": "four-Blue-kettles",
            "WATCHLIST": SYMBOLS,
            "DATABASE_URL": f"sqlite:///{directory / 'database' / 'ledger.db'}",
            **(environment or {}),
        }
        with installed(directory, *arguments, forecasts=forecasts, environment=variables) as here:
            yield Paper(here.process, here.directory, here.port, venue)
    finally:
        exchange.kill()
        exchange.wait()
        log.close()


def _open(venue: str) -> None:
    deadline = time.monotonic() + 90
    while True:
        try:
            requests.get(f"{venue}/v2/clock", headers={"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s"}, timeout=5)
            break
        except requests.RequestException:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    requests.post(f"{venue}/sim/clock", json={"next_open": True}, timeout=30).raise_for_status()
    requests.post(f"{venue}/sim/clock", json={"advance_seconds": 600}, timeout=30).raise_for_status()
