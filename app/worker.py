"""Entry point of workers and beat: `celery -A app.worker worker -Q trading -c 1`, `celery -A app.worker beat`.

Light on purpose: the parent of a worker's pool imports no services and no model library; each child builds its own after fork.
"""

from __future__ import annotations

import os

from celery.signals import beat_init, setup_logging

from app.celery_config import make_celery
from app.config import settings
from app.tasks import process

app = make_celery(settings())


def _build() -> process.Services:
    from app.wiring import build

    return build(settings())


process.install(_build)


@setup_logging.connect
def _configure_log(**_: object) -> None:
    from app.runtime.log import configure

    configure(settings(), os.environ.get("ALPHA_TRADER_ROLE", "worker"))


@beat_init.connect
def _beat_is_ready(**_: object) -> None:
    """Its schedule is loaded and its clock has been read: whoever waits for that finds the pid in this file."""
    (settings().state_dir / "beat.pid").write_text(str(os.getpid()))
