"""What moves the simulated clock: the pacemaker of a running clock, and hand moves asked for over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import structlog

from app.domain.errors import InvalidInput
from app.simulator.world import World

_BEAT_SECONDS = 0.1
_LONGEST_STEP = 86_400.0 * 31
_log = structlog.get_logger(__name__)


async def pace(world: World) -> None:
    """Let time pass at the world's speed until cancelled. A missed beat is made up for, but never more than a second."""
    loop = asyncio.get_running_loop()
    last = loop.time()
    while True:
        await asyncio.sleep(_BEAT_SECONDS)
        now = loop.time()
        elapsed, last = min(now - last, 1.0), now
        if world.speed > 0:
            try:
                world.elapse(min(elapsed * world.speed, _LONGEST_STEP))
            except InvalidInput as end:
                _log.warning("clock stopped", reason=end.message)
                world.set_speed(0)


def apply_move(world: World, body: Mapping[str, Any]) -> None:
    """One of {"to": iso}, {"advance_seconds": n}, {"speed": x}, {"next_open": true}. Raises InvalidInput or Conflict."""
    moves = [name for name in ("to", "advance_seconds", "speed", "next_open") if name in body]
    if len(moves) != 1:
        raise InvalidInput('give exactly one of "to", "advance_seconds", "speed", "next_open"')
    value = body[moves[0]]
    now = world.now
    match moves[0]:
        case "to":
            world.move(_instant(value))
        case "advance_seconds":
            world.move(now + timedelta(seconds=_number(value, "advance_seconds", most=10.0**10)))
        case "speed":
            world.set_speed(_number(value, "speed", most=10.0**10))
        case _ if value is True:
            world.move(world.market.calendar.next_open(now))
        case _:
            raise InvalidInput('next_open must be true: {"next_open": true}')


def _instant(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidInput('"to" must be a time with an offset, such as 2024-01-02T14:30:00Z')
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidInput('"to" is out of range') from None


def _number(value: object, name: str, *, most: float) -> float:
    if not isinstance(value, Decimal) or not 0 <= value <= most:
        raise InvalidInput(f"{name} must be a number between 0 and {most:.0f}")
    return float(value)
