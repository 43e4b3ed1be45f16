"""Whether the system can do its work, asked at most once in a few seconds however often the route is called."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog

from app.domain.errors import AlphaTraderError
from app.domain.ports import VenueClock
from app.web.ports import Services
from app.web.wire import fields, to_wire

log = structlog.get_logger(__name__)
T = TypeVar("T")

REUSE_SECONDS = 3.0
OVERDUE_CYCLES = 2
TRADE_UPDATES = "trade-updates"  # the lease of the process that listens to them


class Readiness:
    """The last report, and since when the venue has been seen open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._report: dict[str, Any] = {}
        self._asked_at = float("-inf")
        self._open_since: datetime | None = None

    def report(self, services: Services) -> dict[str, Any]:
        """status `ok` or `not_ready`, the state of each component, the last cycle, and how the trade updates come in."""
        with self._lock:
            if time.monotonic() - self._asked_at >= REUSE_SECONDS:
                self._report = self._ask(services)
                self._asked_at = time.monotonic()
            return self._report

    def _ask(self, services: Services) -> dict[str, Any]:
        components: dict[str, str] = {}
        _attempt(components, "database", services.database.ping)
        _attempt(components, "broker", services.tasks.ping)
        clock = _attempt(components, "venue", services.alpaca.clock)
        cycle = _attempt(components, "last_cycle", services.database.latest_cycle)
        record = fields(cycle) if cycle is not None else {}
        slot = getattr(cycle, "slot", None)
        last = None
        if cycle is not None:
            age = (clock.now - slot).total_seconds() if clock is not None and isinstance(slot, datetime) else None
            last = {name: record.get(name) for name in ("cycle_id", "slot", "outcome")} | {"age_seconds": to_wire(age)}
        done = _attempt(components, "last_cycle", services.database.newest_slot_done)
        if clock is not None and components["last_cycle"] == "ok" and self._overdue(clock, done, services):
            components["last_cycle"] = "overdue"
        status = "ok" if all(state == "ok" for state in components.values()) else "not_ready"
        stream = _attempt({}, "trade_updates", lambda: _stream(services))
        return {"status": status, "components": components, "last_cycle": last, "trade_updates": stream}

    def _overdue(self, clock: VenueClock, slot: datetime | None, services: Services) -> bool:
        """Whether two slots have gone by without a cycle that did its work; one that began, or failed, is none."""
        # A cycle is missed only while the venue is open; the first ones after the opening get their time.
        if not clock.is_open:
            self._open_since = None
            return False
        self._open_since = min(self._open_since or clock.now, clock.now)
        newest = max(slot, self._open_since) if slot is not None else self._open_since
        return clock.now - newest > timedelta(seconds=OVERDUE_CYCLES * services.settings.trading_cycle_seconds)


def _stream(services: Services) -> dict[str, Any] | None:
    """What the listener to trade updates told last. No fault of readiness: each cycle asks for everything all the same."""
    lease: Any = services.database.lease(TRADE_UPDATES)
    if lease is None:
        return None
    told = {"is_running": bool(lease.owner), "told_at": lease.renewed_at, **lease.status}
    return {name: to_wire(value) for name, value in told.items()}


def _attempt(components: dict[str, str], name: str, call: Callable[[], T]) -> T | None:
    try:
        answer = call()
    except AlphaTraderError as error:
        components[name] = error.code
    except Exception:
        log.warning("component_down", component=name, exc_info=True)
        components[name] = "down"
    else:
        components[name] = "ok"
        return answer
    return None
