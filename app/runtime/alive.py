"""Whether this container does its work: `python -m app.runtime.alive`, exit code 0 or 1, one sentence on standard error.

Light on purpose, as it is asked every few seconds: standard library only. What is asked depends on ALPHA_TRADER_ROLE: the API
for an answer, beat for a schedule written lately, all others for a turn of their loop (see `app.runtime.metrics.observe_turn`).
"""

from __future__ import annotations

import os
import re
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

PATIENCE_SECONDS = 60.0
ANSWER_SECONDS = 4.0
BEAT_FILE = "beat-schedule"
_TURN = re.compile(r"^alpha_trader_turn_timestamp_seconds\{[^}]*\} (\S+)$", re.MULTILINE)


def fault(environment: dict[str, str], now: float) -> str | None:
    """What is wrong, None when nothing is. now: seconds since 1970."""
    role = environment.get("ALPHA_TRADER_ROLE", "api")
    try:
        if role == "api":
            _get(f"http://127.0.0.1:{environment.get('API_PORT') or 5000}/api/health")
            return None
        if role == "beat":
            return _stale("beat last wrote its schedule", _written(environment), now)
        page = _get(f"http://127.0.0.1:{environment.get('METRICS_PORT') or 0}/metrics")
    except (OSError, urllib.error.URLError) as why:
        return f"{role} does not answer: {why}"
    turns = [float(told) for told in _TURN.findall(page)]
    return _stale(f"{role} took its last turn", max(turns), now) if turns else f"{role} has not taken a turn yet"


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - our own process
        return str(answer.read().decode())


def _written(environment: dict[str, str]) -> float:
    """When the newest file of beat's schedule was written; the shelf's backend may add an ending to its name."""
    directory = Path(environment.get("STATE_DIR") or "database")
    times = [path.stat().st_mtime for path in directory.glob(f"{BEAT_FILE}*")]
    if not times:
        raise FileNotFoundError(f"no {BEAT_FILE} in {directory}")
    return max(times)


def _stale(what: str, at: float, now: float) -> str | None:
    age = now - at
    return None if age <= PATIENCE_SECONDS else f"{what} {age:.0f} s ago"


if __name__ == "__main__":
    _said = fault(dict(os.environ), time.time())
    if _said:
        print(_said, file=sys.stderr)  # noqa: T201 - what a health check says
    sys.exit(1 if _said else 0)
