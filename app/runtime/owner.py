"""Who is running a piece of work: a name that survives in the database and can be asked whether it still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def this_process() -> str:
    """`host:pid:start`; the start time tells a process from a later one that was given the same pid."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start_ticks(os.getpid())}"


def is_alive(owner: str) -> bool:
    """Whether that process still runs. One on another host cannot be asked and counts as alive."""
    host, _, rest = owner.partition(":")
    pid, _, ticks = rest.partition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return True
    return _start_ticks(int(pid)) == ticks


def _start_ticks(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return _exists(pid)
    # The command name may hold spaces and brackets; the fields after its last ")" do not. A zombie no longer works.
    fields = stat.rpartition(")")[2].split()
    return "gone" if fields[0] == "Z" else fields[19]


def _exists(pid: int) -> str:
    if Path("/proc/self").exists():
        return "gone"
    try:  # systems without /proc
        os.kill(pid, 0)
    except OSError:
        return "gone"
    return "0"
