"""Entry point of workers and beat: `celery -A app.worker worker -Q trading -c 1`, `celery -A app.worker beat`.

Light on purpose: the parent of a worker's pool imports no services and no model library; each child builds its own after fork.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from celery import bootsteps
from celery.signals import beat_init, setup_logging, worker_ready

from app.celery_config import make_celery
from app.config import settings
from app.domain.errors import ConfigurationError
from app.runtime import metrics
from app.tasks import process

if TYPE_CHECKING:
    from app.notify.notifier import Notifier
    from app.services.database_service import DatabaseService

UPKEEP_ROLE = "worker-upkeep"
TURN_SECONDS = 10.0

try:
    app = make_celery(settings())
except ConfigurationError as _fault:
    sys.exit(_fault.message)


class Turns(bootsteps.StartStopStep):
    """Tells, while the worker reads its queue, that it does; a worker that cannot connect falls silent."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:
        """With each new connection: the timer's entries end with the old one."""
        role = _role()
        metrics.observe_turn(role)
        parent.timer.call_repeatedly(TURN_SECONDS, metrics.observe_turn, (role,))


app.steps["consumer"].add(Turns)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Delivery:
    """All that delivering messages needs: no venue, no models, a third of the memory."""

    database: DatabaseService
    notifier: Notifier

    def close(self) -> None:
        """Give back connections."""
        self.database.close()


def _role() -> str:
    return os.environ.get("ALPHA_TRADER_ROLE", "worker")


def _build() -> process.Services:
    if _role() == UPKEEP_ROLE:
        return cast("process.Services", _delivery())
    from app.wiring import build

    return build(settings())


def _delivery() -> _Delivery:
    from app.notify.notifier import Notifier
    from app.runtime.clock import WallClock
    from app.services.database_service import DatabaseService
    from app.storage.database import Database

    clock = WallClock()
    return _Delivery(database=DatabaseService(Database(settings().database_url), clock), notifier=Notifier(settings(), clock))


process.install(_build)


@setup_logging.connect
def _configure_log(**_: object) -> None:
    from app.runtime.log import configure

    configure(settings(), _role())


@worker_ready.connect
def _serve_metrics(**_: object) -> None:
    """Where METRICS_PORT is set."""
    metrics.serve(settings().metrics_port, settings().api_host)


@beat_init.connect
def _beat_is_ready(**_: object) -> None:
    """Its schedule is loaded and its clock has been read: whoever waits for that finds the pid in this file."""
    (settings().state_dir / "beat.pid").write_text(str(os.getpid()))
