"""`trader up`: what is started in which order, with which settings, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import app as product
from app.config import Settings, TradingMode
from app.domain.errors import ConfigurationError
from app.local.broker_server import BrokerServer, free_port
from app.local.exchange_link import ExchangeLink
from app.local.processes import Role, Supervisor
from app.local.session import RUNNING_FILE, InstanceLock, Market, Run, Wish, open_run, run_environment, write_private
from app.local.terminal import Terminal

STOP_SECONDS = 9.0
_CHECK_SECONDS = 120.0
_LONERS = ("stream", "guard", "watchdog")  # processes of ours that need no queue; each writes its pid when it begins its work
_CELERY = (sys.executable, "-m", "celery", "-A", "app.worker")
# The processes share a small machine: one thread per library call, few allocator arenas, and arrays given back to the
# system when they are freed (the exchange stays 80 MB smaller).
_FRUGAL = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
}


class Interrupted(Exception):
    """A person, or the system, asks us to stop."""


class Installation:
    """The processes of one installation. Use as a context: on the way out everything is stopped, whatever happened."""

    def __init__(self, chosen: Settings, wish: Wish, terminal: Terminal, *, at: datetime) -> None:
        self.settings = chosen
        self.simulated = chosen.trading_mode is TradingMode.SIMULATED
        self._wish = wish
        self._terminal = terminal
        self._at = at
        self._port = wish.port or chosen.api_port
        self._lock = InstanceLock(chosen.state_dir)
        self._supervisor = Supervisor(chosen.logs_dir, say=terminal.warn)
        self._asked_to_stop = False
        self._healthy: set[str] = set()
        self._on_restart: Callable[[str], None] | None = None
        self.run: Run | None = None
        self.environment: dict[str, str] = {}
        self.exchange = ExchangeLink("http://127.0.0.1:1")

    @property
    def state_dir(self) -> Path:
        """Where this run's files are."""
        return self.run.directory if self.run else self.settings.state_dir

    @property
    def url(self) -> str:
        """Address of the API."""
        return f"http://{self.settings.api_host}:{self._port}"

    def __enter__(self) -> Installation:
        self._lock.take()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop_soon)
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # we are stopping already
        self._supervisor.stop(seconds=STOP_SECONDS)
        (self.settings.state_dir / RUNNING_FILE).unlink(missing_ok=True)
        self._lock.release()

    def prepare(self) -> None:
        """Choose the run and the ports, and write the settings of the processes. Faults show before anything starts."""
        _check_port(self.settings.api_host, self._port)
        if self.simulated:
            self.run = open_run(self.settings.state_dir, self._wish, self.settings.watchlist, at=self._at, check=_check_market)
            url = f"http://127.0.0.1:{free_port()}"
            self.environment = run_environment(self.run, self.settings, url)
            self.exchange = ExchangeLink(url)
            if self._wish.nightly is not None or "nightly_learning" not in self.settings.model_fields_set:
                self.environment["NIGHTLY_LEARNING"] = str(bool(self._wish.nightly))
        metrics = self.state_dir.resolve() / "metrics"
        shutil.rmtree(metrics, ignore_errors=True)
        metrics.mkdir(parents=True)
        self.environment |= {**_FRUGAL, "API_PORT": str(self._port), "PROMETHEUS_MULTIPROC_DIR": str(metrics)}
        for name in _LONERS:
            (self.state_dir / f"{name}.pid").unlink(missing_ok=True)
        (self.state_dir / "beat.pid").unlink(missing_ok=True)

    def start_servers(self) -> None:
        """The broker and, in the simulated mode, the exchange: what all others talk to. Returns when the broker answers."""
        if not {"redis_url", "celery_broker_url"} & self.settings.model_fields_set:
            broker = BrokerServer(self.state_dir / "broker")
            orphan = broker.prepare()
            if orphan:
                self._terminal.warn(f"stopped a broker that an earlier crash left running (pid {orphan})")
            self.environment |= {"REDIS_URL": broker.url, "CELERY_BROKER_URL": broker.url}
            self._start("broker", broker.command, lambda _: broker.is_healthy(), seconds=15, stops_last=True)
        if self.run:
            self._start("exchange", self._exchange_command(self.run), lambda _: self.exchange.is_healthy(), stops_last=True)
        if "CELERY_BROKER_URL" in self.environment:
            self.await_health("broker")

    def start_workers(self, is_worker_healthy: Callable[[str], bool]) -> None:
        """Start workers and the API together, without waiting. is_worker_healthy: whether the worker of that name answers."""
        pools = {
            "worker-trading": ("-Q", "trading", "-P", "prefork", "-c", "1"),
            # A child is replaced after each task: what training took goes back to the system.
            "worker-learning": ("-Q", "learning,backtests", "-P", "prefork", "-c", "1", "--max-tasks-per-child", "1"),
            # By itself: neither a training of minutes nor a cycle must wait for a dead webhook, nor the other way round.
            "worker-upkeep": ("-Q", "upkeep", "-P", "solo"),
        }
        for name, pool in pools.items():
            node = f"{name}@local"
            command = (*_CELERY, "worker", "-n", node, *pool, "--without-gossip", "--without-mingle", "-l", "WARNING")
            self._start(name, command, _node_health(is_worker_healthy, node), seconds=60)
        for name in _LONERS:
            self._start(name, (sys.executable, "-m", f"app.{name}"), self._wrote_pid(name), seconds=60)
        configuration = Path(product.__file__).parents[1] / "gunicorn_config.py"
        api = (sys.executable, "-m", "gunicorn", "-c", str(configuration), "app.wsgi:app")
        self._start("api", api, lambda _: _answers(f"{self.url}/api/health"), seconds=60)
        running = {
            "pid": os.getpid(),
            "url": self.url,
            "mode": str(self.settings.trading_mode),
            "environment": self.environment,
        }
        write_private(self.settings.state_dir / RUNNING_FILE, running)

    def start_beat(self) -> None:
        """Start beat. It is healthy once it has read its clock."""
        ready = self.state_dir / "beat.pid"
        command = (*_CELERY, "beat", "-l", "WARNING", "--pidfile=")
        self._start("beat", command, lambda pid: _text(ready) == str(pid), seconds=60)

    def pause(self, seconds: float) -> None:
        """Wait, keep every process alive, and raise Interrupted when asked to stop. RoleFailed: one cannot be kept alive."""
        deadline = time.monotonic() + seconds
        while True:
            if self._asked_to_stop:
                raise Interrupted
            for name in self._supervisor.tend():
                if self._on_restart:
                    self._on_restart(name)
            left = deadline - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.05))

    def when_restarted(self, call: Callable[[str], None]) -> None:
        """Be told the name of each role that was started again."""
        self._on_restart = call

    def revive(self, *names: str) -> None:
        """Replace processes that run but do no work."""
        for name in names:
            self._terminal.warn(f"{name} does no work; replacing it")
            self._supervisor.restart(name)

    def child_settings(self) -> Settings:
        """The settings as the processes of this installation read them."""
        os.environ.update(self.environment)
        return Settings()

    def pids(self) -> Mapping[str, int]:
        """Every role's process."""
        return self._supervisor.pids()

    def _wrote_pid(self, name: str) -> Callable[[int], bool]:
        """Whether that process has come up: it writes its pid when it begins its work."""
        return lambda pid: _text(self.state_dir / f"{name}.pid") == str(pid)

    def _exchange_command(self, run: Run) -> tuple[str, ...]:
        market = run.market
        port = self.environment["ALPACA_TRADING_URL"].rsplit(":", 1)[1]
        state = str((run.directory / "exchange.db").resolve())
        return (*_simulator(market), "--host", "127.0.0.1", "--port", port, "--speed", "0", "--state", state)

    def _start(
        self,
        name: str,
        command: tuple[str, ...],
        healthy: Callable[[int], bool],
        *,
        seconds: float = 30,
        stops_last: bool = False,
    ) -> None:
        self._supervisor.start(
            Role(
                name=name,
                command=command,
                environment=self.environment,
                is_healthy=healthy,
                start_seconds=seconds,
                stops_last=stops_last,
            )
        )

    def await_health(self, *names: str) -> None:
        """Wait until these answer; by default all that have not been waited for. RoleFailed when one does not come up."""
        for name in names or [name for name in self._supervisor.pids() if name not in self._healthy]:
            self._healthy.add(name)
            self._terminal.step(name, f"after {self._supervisor.await_health(name, self.pause):.1f} s")

    def _stop_soon(self, _number: int, _frame: Any) -> None:
        self._asked_to_stop = True


def _simulator(market: Market) -> tuple[str, ...]:
    command = [sys.executable, "-m", "app.cli", "simulator", "--seed", str(market.seed), "--cash", market.cash]
    command += ["--multiplier", "1"]  # the product trades its own money only
    command += ["--symbols", " ".join(market.symbols)]
    command += ["--data", market.data] if market.data else []
    command += ["--start", market.start] if market.start else []
    return tuple(command)


def _check_market(market: Market) -> None:
    """Raise ConfigurationError, in the exchange's words, when it could not be started on this market."""
    if not market.data and not market.start:
        return  # the generated market needs nothing
    command = (*_simulator(market), "--check")
    checked = subprocess.run(command, capture_output=True, text=True, timeout=_CHECK_SECONDS, check=False)  # noqa: S603 - our own
    if checked.returncode:
        said = checked.stderr.strip().splitlines() or [f"the exchange ended with code {checked.returncode}"]
        raise ConfigurationError(said[-1])


def _node_health(answers: Callable[[str], bool], node: str) -> Callable[[int], bool]:
    return lambda _: answers(node)


def _check_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as fault:
            raise ConfigurationError(
                f"port {port} on {host} cannot be used ({fault.strerror}); choose another: make up PORT={port + 1}, "
                f"or trader up --port {port + 1}"
            ) from None


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1.0) as answer:  # noqa: S310 - our own API
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def running(state_dir: Path) -> dict[str, Any] | None:
    """What an installation that runs on this state directory wrote about itself, or None."""
    try:
        known: dict[str, Any] = json.loads((state_dir / RUNNING_FILE).read_text())
        os.kill(int(known["pid"]), 0)
    except (OSError, ValueError, KeyError):
        return None
    return known
