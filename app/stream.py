"""Entry point of the listener to the venue's trade updates: `python -m app.stream`. A second one waits for the first to end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from app.config import Settings, settings
from app.runtime.lone_process import run_alone


def _listening(chosen: Settings) -> Callable[[threading.Event], object]:
    from app.wiring import build_trade_updates

    updates = build_trade_updates(chosen)
    return lambda ended: updates.run(ended.is_set, ended.wait)


if __name__ == "__main__":
    sys.exit(run_alone("stream", settings, _listening))
