"""How every contestant is measured: after a run to warm up, CPU and wall seconds of each of a few, and the memory at its peak.

Needs the standard library alone, so that it runs in any environment.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any


def cpu_seconds() -> float:
    """Of this process and its children."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


def measured(name: str, version: str, work: float, unit: str, run: Callable[[], Any], runs: int = 3) -> Any:
    """Measure `run`, print the figures as a line of JSON, and give back its last answer. work: how many units a run does."""
    answer = run()
    cpu, wall = [], []
    for _ in range(runs):
        before, started = cpu_seconds(), time.perf_counter()
        answer = run()
        wall.append(time.perf_counter() - started)
        cpu.append(cpu_seconds() - before)
    tell({"name": name, "version": version, "work": work, "unit": unit, "cpu": cpu, "wall": wall, "peak_mib": peak_mib()})
    return answer


def peak_mib() -> int:
    """Of this process, or the greatest of its children."""
    return round(max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024)


def tell(message: dict[str, Any]) -> None:
    """One line of JSON."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
