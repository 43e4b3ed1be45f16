"""Entry point of the listener to the venue's trade updates: `python -m app.stream`. A second one waits for the first to end."""

from __future__ import annotations

import os
import signal
import sys
import threading

from app.config import settings
from app.domain.errors import ConfigurationError
from app.runtime import log


def main() -> int:
    """Listen until SIGTERM or Ctrl-C; the exit code."""
    try:
        chosen = settings()
    except ConfigurationError as fault:
        print(fault.message, file=sys.stderr)  # noqa: T201 - there is no log without settings
        return 1
    log.configure(chosen, "stream")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    from app.wiring import build_trade_updates

    updates = build_trade_updates(chosen)
    (chosen.state_dir / "stream.pid").write_text(str(os.getpid()))  # whoever waits for this process looks here
    updates.run(ended.is_set, ended.wait)
    return 0


if __name__ == "__main__":
    sys.exit(main())
