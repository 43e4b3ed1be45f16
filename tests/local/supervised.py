"""A parent with three supervised children, each with a child of its own; prints their pids. Used by test_processes."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from app.local.processes import Role, Supervisor

CHILD = (
    "import subprocess, sys, time; p = subprocess.Popen(['sleep', '300']); "
    "open(sys.argv[1], 'w').write(str(p.pid)); time.sleep(300)"
)
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + CHILD


def main(directory: Path) -> None:
    """Run until SIGTERM."""
    supervisor = Supervisor(directory / "logs", say=lambda text: print(text, flush=True))
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    files = {}
    for name, code in (("one", CHILD), ("two", STUBBORN), ("base", CHILD)):
        files[name] = directory / f"{name}.pid"
        role = Role(
            name=name,
            command=(sys.executable, "-c", code, str(files[name])),
            environment={},
            is_healthy=lambda _, name=name: files[name].exists() and bool(files[name].read_text()),
            stops_last=name == "base",
        )
        supervisor.start(role)
    for name in files:
        supervisor.await_health(name, time.sleep)
    print("pids", *supervisor.pids().values(), *(path.read_text() for path in files.values()), flush=True)
    while not stop:
        for name in supervisor.tend():
            supervisor.await_health(name, time.sleep)
            print("again", supervisor.pids()[name], files[name].read_text(), flush=True)
        time.sleep(0.02)
    supervisor.stop(seconds=3.0)
    print("stopped", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
