"""The product's Celery application on fake services that write what they do to the file ROUND_TRIP_LOG."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace

from celery.signals import beat_init

from app.celery_config import make_celery
from app.config import settings
from app.runtime.venue_time import VenueTime
from app.tasks import process
from tests.tasks.fakes import FakeDatabase, fake_services

app = make_celery(settings())


def _venue_now():
    """Read afresh each time, as services read the venue's clock; beat's own reading may be 50 ms old."""
    return VenueTime(settings().alpaca_trading_url, key="k", secret="s").now()


def _note(line: str) -> None:
    with Path(os.environ["ROUND_TRIP_LOG"]).open("a") as log:
        log.write(f"{line} {_venue_now():%m-%dT%H:%M}\n")


class _Trading:
    def run_cycle(self, *, trigger, request_id=""):
        _note(f"cycle-{trigger}")
        return SimpleNamespace(cycle_id="c", outcome="completed", detail="")


class _Notifier:
    def deliver(self, database, limit):
        if Path(os.environ["ROUND_TRIP_LOG"] + ".deadly").exists():
            _note("died")
            os.kill(os.getpid(), signal.SIGKILL)
        _note("deliver")


class _Database(FakeDatabase):
    """Remembers beyond the death of its process what a database would."""

    def note_redelivery(self, message_id, task):
        with Path(os.environ["ROUND_TRIP_LOG"] + ".again").open("a+") as file:
            file.write(message_id + "\n")
            file.seek(0)
            return file.read().split().count(message_id)

    def enqueue_alert(self, kind, message, payload=None):
        with Path(os.environ["ROUND_TRIP_LOG"] + ".alerts").open("a") as file:
            file.write(message + "\n")


def _build():
    services = fake_services(train=lambda *_, **__: _note("train") or [], tune=lambda *_, **__: _note("tune") or [])
    services.trading, services.notifier, services.database = _Trading(), _Notifier(), _Database()
    services.alpaca.clock = lambda: SimpleNamespace(now=_venue_now())

    def enqueue(kind, params):
        task_id = services.database.create_task(kind, params)
        app.send_task("app.tasks.train_models_batch", task_id=task_id)
        return task_id

    services.tasks.enqueue = enqueue
    return services


process.install(_build)


@beat_init.connect
def _ready(**_):
    Path(os.environ["ROUND_TRIP_LOG"] + ".beat").write_text(str(os.getpid()))
