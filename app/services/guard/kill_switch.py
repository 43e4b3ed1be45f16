"""The kill switch: no new risk within seconds, whatever else is broken.

In this order: the kill file (every sender looks at it right before it sends), the database, then the cancels, straight to
the venue from the process that was asked. Neither the queue nor a locked database can hold it up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from app.domain.errors import AlphaTraderError, VenueError
from app.domain.order import CLIENT_ID_PREFIX, Side, VenueOrder
from app.services.alpaca_service import AlpacaService
from app.services.risk_manager import RiskManager

log = structlog.get_logger()

RECORDING_PATIENCE_SECONDS = 2.0
SWEEP_WAITS_SECONDS = (0.0, 1.0, 3.0)  # again, for an order that was on its way when the switch was thrown
LOOK_EVERY_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class KillReport:
    """What engaging did. recorded: the database holds the halt too (else the next cycle writes it). cancelled: venue ids.
    faults: what did not work, sentences."""

    reason: str
    file_written: bool
    recorded: bool
    cancelled: tuple[str, ...]
    faults: tuple[str, ...]


class KillSwitch:
    """Stops entries and cancels those that rest; protective exits stay at the venue."""

    def __init__(self, *, risk: RiskManager, venue: AlpacaService, sleep: Callable[[float], None] = time.sleep) -> None:
        self._risk = risk
        self._venue = venue
        self._sleep = sleep

    def engage(self, actor: str, reason: str) -> KillReport:
        """Throw it. Never raises for a database or a venue that does not answer; `faults` says so."""
        faults: list[str] = []
        said = f"{actor}: {reason}"
        try:
            self._risk.kill_file.write(said)
        except OSError as fault:
            faults.append(f"the kill file could not be written: {fault.strerror}")
        log.critical("kill_switch_engaged", actor=actor, reason=reason)
        return self._react(actor, reason, file_written=not faults, faults=faults)

    def cancel_entries(self, faults: list[str]) -> set[str]:
        """Ask the venue to cancel every open entry of ours, as the venue itself lists them; their venue ids."""
        try:
            entries = [order for order in self._venue.open_orders() if _is_our_entry(order)]
        except VenueError as fault:
            faults.append(f"open orders could not be listed: {fault.message}")
            return set()
        asked = set()
        for order in entries:
            try:
                self._venue.cancel(order.venue_order_id)
            except VenueError as fault:
                faults.append(f"{order.symbol} could not be cancelled: {fault.message}")
            asked.add(order.venue_order_id)
        return asked

    def watch(self) -> threading.Event:
        """React in the background to a kill file that someone puts there; until the returned event is set, or for good."""
        over = threading.Event()
        threading.Thread(target=self._watch, args=(over,), name="kill-watch", daemon=True).start()
        return over

    def _watch(self, over: threading.Event) -> None:
        engaged = self._risk.kill_file.reason() is not None
        while not over.is_set():
            reason = self._risk.kill_file.reason()
            if reason is not None and not engaged:
                report = self._react("file", reason, file_written=True, faults=[])
                log.critical("kill_file_found", reason=reason, cancelled=len(report.cancelled), faults=report.faults)
            engaged = reason is not None
            over.wait(LOOK_EVERY_SECONDS)

    def _react(self, actor: str, reason: str, *, file_written: bool, faults: list[str]) -> KillReport:
        recording = _Recording(self._risk, actor, reason)
        recording.start()
        recording.join(RECORDING_PATIENCE_SECONDS)
        cancelled: set[str] = set()
        for wait in SWEEP_WAITS_SECONDS:
            self._sleep(wait)
            sweep: list[str] = []
            cancelled |= self.cancel_entries(sweep)
        faults.extend(sweep)
        if recording.fault:
            faults.append(recording.fault)
        return KillReport(
            reason=reason,
            file_written=file_written,
            recorded=recording.done,
            cancelled=tuple(sorted(cancelled)),
            faults=tuple(faults),
        )


class _Recording(threading.Thread):
    """The halt on its way into the database, however long that takes; dies with the process, and the file remains."""

    def __init__(self, risk: RiskManager, actor: str, reason: str) -> None:
        super().__init__(name="kill-recording", daemon=True)
        self._risk, self._actor, self._reason = risk, actor, reason
        self.done = False
        self.fault = ""

    def run(self) -> None:
        try:
            self.done = self._risk.kill(self._actor, self._reason) is not None
        except AlphaTraderError as fault:
            self.fault = f"the halt is not in the database yet: {fault.message}"


def _is_our_entry(order: VenueOrder) -> bool:
    return order.side is Side.BUY and order.client_order_id.startswith(f"{CLIENT_ID_PREFIX}-")
