"""Failpoints: named places of the order path where a drill has the process die, or stand still until it is let go.

Nothing happens at any of them until `arm`, which only settings of the simulated mode can ask for.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

POINTS = (
    "before_intent",
    "after_intent",
    "before_claim",
    "after_claim",
    "before_post",
    "after_post",
    "before_store",
    "after_store",
    "in_fill_booking",
    "after_fill_booking",
    "in_cancel",
    "between_cancel_and_exit",
    "in_reconcile",
    "in_flatten",
    "in_risk_save",
    "after_risk_save",
)
_LOOK_EVERY_SECONDS = 0.005


class _Armed:
    """What is to happen, and how often each place was reached. Places are (name, number of the visit), numbers from 1."""

    def __init__(self, crash_at: tuple[str, int] | None, hold_at: tuple[str, int] | None, directory: Path) -> None:
        self._crash_at = crash_at
        self._hold_at = hold_at
        self._directory = directory
        self._visits: dict[str, int] = {}

    def visit(self, point: str) -> None:
        place = point, self._visits.get(point, 0) + 1
        self._visits[point] = place[1]
        if place == self._hold_at:
            self._hold(held_file(self._directory, point))
        if place == self._crash_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def _hold(self, file: Path) -> None:
        file.touch()
        while file.exists():
            time.sleep(_LOOK_EVERY_SECONDS)


_armed: _Armed | None = None


def reach(point: str) -> None:
    """A place by its name. It dies here as by kill -9, or waits here until `held_file` is removed, if that was asked for."""
    if _armed is not None:
        _armed.visit(point)


def arm(crash_at: str, hold_at: str, directory: Path) -> None:
    """Sets where to die and where to stand still: a name of POINTS, the third visit of it as `name:3`, or "" for nowhere.
    directory: where `held_file` appears. Raises ValueError."""
    global _armed  # noqa: PLW0603 - one process, one plan
    crash, hold = parse(crash_at), parse(hold_at)
    _armed = _Armed(crash, hold, directory) if crash or hold else None


def parse(text: str) -> tuple[str, int] | None:
    """`name` or `name:visit` as (name, visit); None for "". Raises ValueError saying what there is."""
    if not text:
        return None
    name, colon, number = text.partition(":")
    if name not in POINTS or (colon and not (number.isascii() and number.isdigit() and int(number) > 0)):
        raise ValueError(f"must be name or name:visit with a name of {', '.join(POINTS)}")
    return name, int(number) if colon else 1


def held_file(directory: Path, point: str) -> Path:
    """The file that is there while the process stands still at `point`; removing it lets the process go on."""
    return directory / f"held.{point}"
