"""Entry point of the exit monitor: `python -m app.guard`. Needs the database and the venue, nothing else; a second one waits
for the first to end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from app.config import Settings, settings
from app.runtime.lone_process import run_alone


def _duty(chosen: Settings) -> Callable[[threading.Event], object]:
    from app.wiring import build_guard

    duty = build_guard(chosen)
    return lambda ended: duty.run(ended.is_set, ended.wait)


if __name__ == "__main__":
    sys.exit(run_alone("guard", settings, _duty))
