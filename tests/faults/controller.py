"""A lean stack for killing: a simulated exchange and trading processes, all real, all stopped by pid and kill -9.

The exchange is the judge: its ledger lives in another process and file than ours and knows nothing of our database.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import requests

from app.local.broker_server import free_port
from app.runtime.clock import WallClock
from app.services.database_service import DatabaseService
from app.storage.database import Database
from tests.faults.controller_process import KEY, SYMBOLS, Life, live
from tests.trading.exchange import Exchange

ROOT = Path(__file__).parents[2]
EXCHANGE = """
import sys
from decimal import Decimal
from pathlib import Path
from app.simulator.server import SimulatorOptions, serve
port, state, seed = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
serve(SimulatorOptions(port=port, state_file=state, seed=seed, symbols=tuple(sys.argv[4:]), partial_probability=Decimal("0.2")))
"""
PATIENCE_SECONDS = 120.0
KEYS = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": "secret"}
SESSIONS = {"start": "2022-06-01", "end": "2024-12-31"}


class Venue(Exchange):
    """The exchange with its barriers."""

    def barrier(self, **fields: object) -> int:
        answer = requests.post(f"{self.url}/sim/barriers", json=fields, timeout=10)
        answer.raise_for_status()
        return int(answer.json()["id"])

    def has_arrived(self, barrier: int) -> bool:
        answer = requests.get(f"{self.url}/sim/barriers/{barrier}?wait=0.2", timeout=10)
        return bool(answer.json()["state"] == "arrived")

    def release(self, barrier: int, then: str) -> None:
        requests.post(f"{self.url}/sim/barriers/{barrier}/release", json={"then": then}, timeout=10).raise_for_status()

    def drop_barriers(self) -> None:
        requests.delete(f"{self.url}/sim/barriers", timeout=10).raise_for_status()

    def shorten_calendar(self) -> None:
        """Answer only sessions near the run: reading thirty years of them takes a process longer than all else it does."""
        days = requests.get(f"{self.url}/v2/calendar", params=SESSIONS, headers=KEYS, timeout=30).json()
        fault = {"what": "patch", "path": "/v2/calendar", "patch": days, "times": None}
        requests.post(f"{self.url}/sim/faults", json=fault, timeout=30).raise_for_status()

    def place(self, **body: object) -> dict[str, Any]:
        """An order that a person places beside the system."""
        answer = requests.post(f"{self.url}/v2/orders", json=body, headers=KEYS, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def ledger(self) -> dict[str, Any]:
        return requests.get(f"{self.url}/sim/ledger", params={"key_id": KEY}, timeout=30).json()


class Process:
    """One trading process, as its killer sees it."""

    def __init__(self, life: Life) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["__main__", "tests.faults.controller_preload"])
        self._wire, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=live, args=(life, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self._busy = True  # it says "up" once it is

    @property
    def pid(self) -> int:
        pid = self.process.pid
        assert pid is not None
        return pid

    def do(self, name: str, *arguments: object) -> Any:
        """Tell it something and wait for the answer; None when it died over it."""
        self.begin(name, *arguments)
        return self.answer()

    def begin(self, name: str, *arguments: object) -> None:
        """Tell it something and go on."""
        if self._busy:
            self.answer()
        try:
            self._wire.send((name, arguments))
            self._busy = True
        except OSError:  # it died before
            self._busy = False

    def answer(self, seconds: float = PATIENCE_SECONDS) -> Any:
        """The answer to what it was told; None when it died."""
        wait([self._wire, self.process.sentinel], seconds)
        try:
            if not self._wire.poll(0 if self.process.is_alive() else 0.1):
                assert not self.process.is_alive(), f"process {self.pid} does not answer"
                return None
            answer = self._wire.recv()
        except (EOFError, OSError):
            self.process.join(10)
            return None
        self._busy = False
        return answer

    def has_answered(self) -> bool:
        return bool(self._wire.poll())

    def is_alive(self) -> bool:
        return self.process.is_alive()

    def was_killed(self) -> bool:
        """Whether it ended by kill -9, and not by a fault of its own."""
        self.process.join(10)
        return self.process.exitcode == -signal.SIGKILL

    def kill(self) -> None:
        """kill -9; dead when it returns."""
        if self.process.is_alive():
            os.kill(self.pid, signal.SIGKILL)
        self.process.join(10)
        self._wire.close()

    def stop(self) -> None:
        """An orderly end; a fault in it is told."""
        if self._busy:
            self.answer()
        self.begin("stop")
        self.process.join(PATIENCE_SECONDS)
        assert self.process.exitcode == 0, f"the process ended with {self.process.exitcode}; see trader.log"


class Stack:
    """An exchange, a database and the trading processes of one round."""

    def __init__(self, venue: Venue, database_url: str, directory: Path, seed: int) -> None:
        self.venue = venue
        self.directory = directory
        self.database_url = database_url
        self.seed = seed
        self.database = DatabaseService(Database(database_url), WallClock(), spool=directory / "answers")
        self._lives: list[Process] = []

    def start(self, *, crash_at: str = "", hold_at: str = "") -> Process:
        """A new life of the trading process."""
        life = Life(
            url=self.venue.url,
            database_url=self.database_url,
            directory=self.directory,
            seed=self.seed * 1000 + len(self._lives),
            crash_at=crash_at,
            hold_at=hold_at,
        )
        process = Process(life)
        self._lives.append(process)
        return process

    def kill_all(self) -> None:
        """kill -9 of whatever still lives."""
        for process in self._lives:
            if process.is_alive():
                process.kill()

    def close(self) -> None:
        self.kill_all()
        self.database.close()


@contextmanager
def stack(directory: Path, database_url: str, *, seed: int = 1) -> Iterator[Stack]:
    """An exchange just after the opening and an empty, migrated database at `database_url`."""
    directory.mkdir(parents=True, exist_ok=True)
    with exchange(directory, seed) as venue:
        here = Stack(venue, database_url, directory, seed)
        try:
            yield here
        finally:
            here.close()


@contextmanager
def exchange(directory: Path, seed: int) -> Iterator[Venue]:
    """The simulated exchange as a process of its own, its state in a file."""
    port = free_port()
    command = [sys.executable, "-c", EXCHANGE, str(port), str(directory / "exchange.db"), str(seed), *SYMBOLS]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (directory / "exchange.log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
    venue = Venue(f"http://127.0.0.1:{port}")
    try:
        _wait_for(venue, process, directory / "exchange.log")
        venue.shorten_calendar()
        yield venue
    finally:
        process.kill()
        process.wait(10)


def _wait_for(venue: Venue, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            venue.state()
            return
        except requests.RequestException:
            time.sleep(0.02)
    raise AssertionError("the exchange did not start")
