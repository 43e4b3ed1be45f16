"""Entry point of the exit monitor: `python -m app.guard`. Needs the database and the venue, nothing else; a second one waits
for the first to end."""

from __future__ import annotations

import os
import signal
import sys
import threading

from app.config import settings
from app.domain.errors import ConfigurationError
from app.runtime import log


def main() -> int:
    """Look after the holdings until SIGTERM or Ctrl-C; the exit code."""
    try:
        chosen = settings()
    except ConfigurationError as fault:
        print(fault.message, file=sys.stderr)  # noqa: T201 - there is no log without settings
        return 1
    log.configure(chosen, "guard")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    from app.wiring import build_guard

    duty = build_guard(chosen)
    (chosen.state_dir / "guard.pid").write_text(str(os.getpid()))  # whoever waits for this process looks here
    duty.run(ended.is_set, ended.wait)
    return 0


if __name__ == "__main__":
    sys.exit(main())
