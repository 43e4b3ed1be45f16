"""A whole installation as a child of the test: every process real, every file in a directory of its own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

from app.local.broker_server import free_port

ROOT = Path(__file__).parents[2]
SYMBOLS = "AAPL MSFT GOOGL TSLA SPY NVDA"


@dataclass
class Installation:
    """`trader up` with its output and its directory."""

    process: subprocess.Popen[str]
    directory: Path
    port: int

    @property
    def run(self) -> Path:
        return self.directory / "database" / "simulated"

    def roles(self) -> dict[str, int]:
        """Leader of each role, read off the environment of the running children."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            try:
                role = child.environ().get("ALPHA_TRADER_ROLE")
            except psutil.Error:
                continue
            if role:
                found[role] = child.pid
        return found

    def everyone(self) -> list[int]:
        """Every process of the installation."""
        parent = psutil.Process(self.process.pid)
        return [parent.pid, *(child.pid for child in parent.children(recursive=True))]

    def kill(self, role: str) -> None:
        """kill -9 the role's leader and everything below it."""
        leader = psutil.Process(self.roles()[role])
        for process in [*leader.children(recursive=True), leader]:
            process.kill()

    def ledger(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the product's own database."""
        files = list(self.run.glob("*.db"))
        path = next(file for file in files if file.name != "exchange.db")
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10) as connection:
            return connection.execute(query).fetchall()

    def exchange(self, table: str) -> list[dict[str, Any]]:
        """Rows of the exchange's own state file: orders or fills."""
        with sqlite3.connect(f"file:{self.run / 'exchange.db'}?mode=ro", uri=True, timeout=10) as connection:
            return [json.loads(body) for (body,) in connection.execute(f"SELECT body FROM {table}")]

    def cycles(self) -> int:
        """Cycles completed so far; 0 before there is a database."""
        try:
            return int(self.ledger("SELECT count(*) FROM cycles WHERE outcome = 'completed'")[0][0])
        except (sqlite3.Error, StopIteration):
            return 0

    def answers(self) -> bool:
        """Whether the API is up."""
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/api/health", timeout=5).ok
        except requests.RequestException:
            return False

    def wait_until(self, reached: Callable[[], bool], seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.1)

    def output(self) -> str:
        return (self.directory / "output.txt").read_text()


@contextmanager
def installed(
    directory: Path,
    *arguments: str,
    forecasts: dict[str, float] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Installation]:
    """Start `trader up`; on the way out it is stopped the hard way if it still runs."""
    directory.mkdir(exist_ok=True)
    environment = {
        **{name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}},
        "STATE_DIR": str(directory / "database"),
        "LOGS_DIR": str(directory / "logs"),
        "MODELS_DIR": str(directory / "models"),
        "PARAMS_DIR": str(directory / "best_params"),
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "160",
        **(environment or {}),
    }
    if forecasts is not None:
        path = directory / "forecasts.csv"
        rows = "".join(f"{symbol},{value},0.9\n" for symbol, value in forecasts.items())
        path.write_text("symbol,expected_return,confidence\n" + rows)
        environment["FORECASTS_FILE"] = str(path)
    port = free_port()
    command = [sys.executable, "-m", "app.cli", "up", "--symbols", SYMBOLS, "--port", str(port), *arguments]
    with (directory / "output.txt").open("a") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True)
    here = Installation(process, directory, port)
    try:
        yield here
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
