"""What a worker process holds: the services, built after fork and kept until the process ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from celery.signals import task_postrun, worker_process_init, worker_process_shutdown

from app.celery_config import TaskRecord
from app.domain.errors import VenueError
from app.runtime import metrics
from app.runtime.memory import settle

if TYPE_CHECKING:
    from datetime import datetime

PR_SET_PDEATHSIG = 1
PREPARED_ROLE = "worker-trading"  # whose first task must not wait for its services to be built


class Database(Protocol):
    """What tasks ask of the database service."""

    def create_task(self, kind: str, params: dict[str, Any]) -> str:
        """A new queued record; its id."""

    def task(self, task_id: str) -> TaskRecord:
        """The record. NotFound."""

    def tasks(self, limit: int) -> list[TaskRecord]:
        """The newest records."""

    def start_task(self, task_id: str) -> object:
        """The record is running."""

    def progress_task(self, task_id: str, done: int, total: int, message: str) -> object:
        """How far it is."""

    def finish_task(self, task_id: str, result: dict[str, Any]) -> object:
        """It is done."""

    def fail_task(self, task_id: str, error: str) -> object:
        """It has failed."""


class Services(Protocol):
    """What `app.wiring.build` makes, as far as tasks know it."""

    @property
    def settings(self) -> Any:
        """app.config.Settings."""

    @property
    def database(self) -> Any:
        """Database, and more."""

    @property
    def alpaca(self) -> Any:
        """AlpacaService."""

    @property
    def ai(self) -> Any:
        """AIService."""

    @property
    def trading(self) -> Any:
        """TradingService."""

    @property
    def kill(self) -> Any:
        """KillSwitch."""

    @property
    def backtests(self) -> Any:
        """BacktestService."""

    @property
    def optimizer(self) -> Any:
        """OptimizerService."""

    @property
    def research(self) -> Any:
        """ResearchService."""

    @property
    def divergence(self) -> Any:
        """DivergenceService."""

    @property
    def tasks(self) -> Any:
        """CeleryTaskQueue."""

    @property
    def notifier(self) -> Any:
        """Notifier."""

    def close(self) -> None:
        """Give back connections."""


class _Process:
    """The one slot of process-wide state: how services are built, and the built ones."""

    build: Callable[[], Services] | None = None
    built: Services | None = None


def install(build: Callable[[], Services]) -> None:
    """Say how this process's services are built; nothing is built yet."""
    _Process.build = build


def services() -> Services:
    """This process's services, built on first use."""
    if _Process.built is None:
        if _Process.build is None:
            raise RuntimeError("no services are installed in this process: start it through app.worker")
        _Process.built = _Process.build()
    return _Process.built


def close() -> None:
    """Let go of the services; the next use builds new ones."""
    built, _Process.built = _Process.built, None
    if built is not None:
        built.close()


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, however that happens. Linux only; elsewhere nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@worker_process_init.connect
def _prepare(**_: object) -> None:
    die_with_parent()  # a pool child whose worker was killed would go on alone, with its task
    if os.environ.get("ALPHA_TRADER_ROLE") == PREPARED_ROLE:
        with contextlib.suppress(VenueError):  # a venue that is away now is asked again by the first cycle
            services().kill.watch()
            services().trading.prepare()
        settle()


@worker_process_shutdown.connect
def _leave(**_: object) -> None:
    close()


@task_postrun.connect
def _measure(**_: object) -> None:
    metrics.observe_machine(os.environ.get("ALPHA_TRADER_ROLE", "worker"))


def venue_now() -> datetime:
    """The venue's present instant, asked through the services."""
    now: datetime = services().alpaca.clock().now
    return now
