"""What moves the simulated clock: the pacemaker of a running clock, and hand moves asked for over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import structlog

from app.domain.errors import InvalidInput
from app.simulator.options import FOLLOW, FOLLOW_WORD
from app.simulator.streams.hub import Hub
from app.simulator.world import World, checked_speed

_BEAT_SECONDS = 0.1
_SLICE_SECONDS = 23_400.0
_MINUTE = 60
_log = structlog.get_logger(__name__)


async def pace(world: World, hub: Hub) -> None:
    """Let time pass at the world's speed until cancelled.

    A numeric speed: whatever the pacemaker was kept from doing is made up for, a session at a time with room for requests in
    between; only a change of the speed forgives what is owed. FOLLOW: minute by minute, each when every stream client has
    read what the minute before it brought; without a client subscribed to market data the clock waits.
    """
    loop = asyncio.get_running_loop()
    owed, speed, last = 0.0, world.speed, loop.time()
    while True:
        await asyncio.sleep(0 if owed or (speed == FOLLOW and hub.followed) else _BEAT_SECONDS)
        now = loop.time()
        if world.speed != speed:
            owed, speed = 0.0, world.speed
        elif speed != FOLLOW:
            owed += (now - last) * speed
        last = now
        try:
            if speed == FOLLOW:
                await _follow(world, hub)
            elif owed:
                step = min(owed, _SLICE_SECONDS)
                world.elapse(step)
                owed -= step
        except InvalidInput as end:
            _log.warning("clock stopped", reason=end.message)
            world.set_speed(0)


async def _follow(world: World, hub: Hub) -> None:
    if hub.followed:
        await hub.settled()
    if hub.followed and world.speed == FOLLOW:
        world.elapse(_MINUTE - world.now.timestamp() % _MINUTE)


def apply_move(world: World, body: Mapping[str, Any]) -> None:
    """One of the moves below, as {"to": iso}, {"advance_seconds": n}, {"speed": x or "follow"}, {"next_open": true} or
    {"to_close": true}: the end of the session, or of the next one. Raises InvalidInput or Conflict."""
    moves = [name for name in ("to", "advance_seconds", "speed", "next_open", "to_close") if name in body]
    if len(moves) != 1:
        raise InvalidInput('give exactly one of "to", "advance_seconds", "speed", "next_open", "to_close"')
    value = body[moves[0]]
    now, calendar = world.now, world.market.calendar
    match moves[0]:
        case "to":
            world.move(_instant(value))
        case "advance_seconds":
            world.move(now + timedelta(seconds=_number(value, "advance_seconds", most=10.0**10)))
        case "speed":
            world.set_speed(FOLLOW if value == FOLLOW_WORD else _number(value, "speed", most=10.0**10))
        case "next_open" if value is True:
            world.move(calendar.next_open(now))
        case "to_close" if value is True:
            world.move(calendar.next_close(now))
        case name:
            raise InvalidInput(f'{name} must be true: {{"{name}": true}}')


def speed_word(speed: float) -> float | str:
    """A speed as people and JSON know it."""
    return FOLLOW_WORD if speed == FOLLOW else speed


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


def read_speed(text: str) -> float:
    """A speed from the command line. Raises InvalidInput for what is none."""
    try:
        return FOLLOW if text == FOLLOW_WORD else checked_speed(float(text))
    except ValueError:
        raise InvalidInput(f'speed must be a number or "{FOLLOW_WORD}", got {text[:20]}') from None


def _number(value: object, name: str, *, most: float) -> float:
    if not isinstance(value, Decimal) or not 0 <= value <= most:
        raise InvalidInput(f"{name} must be a number between 0 and {most:.0f}")
    return float(value)
