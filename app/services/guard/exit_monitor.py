"""One look of the exit monitor: is every holding protected, and does a price ask to leave one that nothing at the venue sells?

The decision sets the levels of a holding; stops that rest at the venue, or else this monitor, enforce them. It needs neither
queue nor worker. Where a stop at the venue takes every unit, it reads and writes nothing further.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

import structlog

from app.domain.bar import MINUTE, Snapshot
from app.domain.errors import VenueError
from app.domain.portfolio import Position
from app.domain.ports import VenueClock
from app.domain.reason import Reason
from app.domain.trading_state import Cause, RiskState, TradingState
from app.engine.protection import CORROBORATION, Aim, Print, is_believed, reached, stops_at_venue
from app.risk.limits import RiskLimits
from app.runtime.owner import is_alive
from app.services.alpaca_service import AlpacaService
from app.services.database_service import DatabaseService
from app.services.guard.exit_orders import ExitOrders
from app.services.guard.guard_books import GuardBooks
from app.services.guard.protection import Holding, holdings_of, is_external

log = structlog.get_logger()

RETRY_SECONDS = 60.0  # wall time before a refused order is tried again
MINUTES_READ = 5
NEWEST_MINUTE = timedelta(minutes=15)  # a minute that ended longer than that before a print says nothing about it
_RUNGS = ("at the market", "at the market once more", "at the lowest price of the collar")
_LOST = frozenset({Cause.BOOKS_LOST.code, Cause.STATE_LOST.code})


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look found and did. watched: holdings with units that only this monitor protects. notes: what keeps a holding
    from being protected, a sentence by symbol. sold, rested: symbols for which an order went out."""

    at: datetime
    holdings: int
    watched: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    sold: tuple[str, ...] = ()
    rested: tuple[str, ...] = ()


@dataclass(slots=True)
class _Findings:
    watched: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    sold: list[str] = field(default_factory=list)
    rested: list[str] = field(default_factory=list)


class ExitMonitor:
    """Looks; call it again and again from one process. Raises VenueError or StorageUnavailable when it cannot see."""

    def __init__(
        self,
        *,
        venue: AlpacaService,
        database: DatabaseService,
        orders: ExitOrders,
        limits: RiskLimits,
        alive: Callable[[str], bool] = is_alive,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """alive: whether the owner of a cycle still runs."""
        self._venue = venue
        self._database = database
        self._orders = orders
        self._limits = limits
        self._monotonic = monotonic
        self._books = GuardBooks(venue=venue, database=database, alive=alive, monotonic=monotonic)
        self._prints: dict[str, list[Print]] = {}
        self._not_before: dict[str, float] = {}
        self._told: dict[str, str] = {}

    def look(self, clock: VenueClock | None = None) -> Look:
        """One look. clock: the venue's, where it was read just now."""
        clock = clock or self._venue.clock()
        if self._database.account() is None:  # the first cycle opens the books; nothing in them is ours yet
            return Look(at=clock.now, holdings=0)
        held = {symbol: one for symbol, one in self._venue.positions().items() if one.quantity > 0}
        resting = self._venue.open_orders()
        risk = self._database.risk_state()
        stops = stops_at_venue(resting)
        flattening = risk is not None and risk.trading_state is TradingState.FLATTENING
        lost = any(self._books.is_lost(one) for one in self._database.unsettled_intents())
        if not flattening and not lost and all(stops.get(symbol, 0) >= one.quantity for symbol, one in held.items()):
            self._forget(())
            self._books.forget()
            return Look(at=clock.now, holdings=len(held))
        self._books.catch_up(resting, held, clock.now)
        look = self._attend(clock, held, risk, flattening=flattening)
        if look.rested or look.sold:
            self._books.forget()
        return look

    def _attend(self, clock: VenueClock, held: Mapping[str, Position], risk: RiskState | None, *, flattening: bool) -> Look:
        found = _Findings()
        holdings = holdings_of(self._database, self._limits, held)
        for symbol in sorted(set(held) - {one.symbol for one in holdings}):
            found.notes[symbol] = "the venue holds it, our books do not yet"
        exposed = [one for one in holdings if one.cover.exposed > 0]
        if flattening:
            self._flatten(holdings, clock, found)
        elif exposed:
            prices = self._venue.snapshots([one.symbol for one in exposed])
            for one in exposed:
                self._judge(one, prices.get(one.symbol), clock, risk, found)
        for one in holdings:
            if one.cover.foreign > 0:
                found.notes.setdefault(one.symbol, f"an order of a person holds {one.cover.foreign} units")
        self._forget({one.symbol for one in exposed})
        return Look(
            at=clock.now,
            holdings=len(held),
            watched=tuple(found.watched),
            notes=found.notes,
            sold=tuple(found.sold),
            rested=tuple(found.rested),
        )

    def _flatten(self, holdings: Sequence[Holding], clock: VenueClock, found: _Findings) -> None:
        """What a liquidation left over when whoever decided it is gone. A cycle under way does its own work."""
        left = [one for one in holdings if one.cover.exposed + one.cover.resting > 0]
        if not left or self._books.cycle_runs():
            return
        for one in left:
            if clock.is_open:
                self._leave(one, one.cover.exposed + one.cover.resting, Reason.FLATTEN, None, clock, found)
            else:
                self._queue(one.symbol, Reason.FLATTEN, clock, found)

    def _judge(
        self, one: Holding, snapshot: Snapshot | None, clock: VenueClock, risk: RiskState | None, found: _Findings
    ) -> None:
        """Act on the newest price of a holding with exposed units."""
        symbol, newest = one.symbol, _print(snapshot)
        if newest is not None and clock.is_open and not self._is_fresh(newest, clock.now):
            newest = None
        if newest is None or one.aim.stop is None:
            found.notes[symbol] = "there is no fresh price" if newest is None else "its entry price is unknown"
        else:
            found.watched.append(symbol)
        asked = reached(newest.price, one.aim) if newest is not None else None
        if asked is None or newest is None:
            self._prints.pop(symbol, None)
            self._rest(one, clock, found)
        elif not self._believes(symbol, newest, one.aim, clock.now):
            log.info("exit_waits_for_second_reading", symbol=symbol, price=str(newest.price), reason=asked.code)
        elif risk is not None and risk.trading_state is TradingState.HALTED and risk.cause in _LOST:
            found.notes[symbol] = f"{asked.code} is due, but the books were lost and a person has not resumed"
            self._tell(symbol, "withheld", f"{symbol}: {found.notes[symbol]}.")
        elif not clock.is_open:
            self._queue(symbol, asked, clock, found)
        else:
            self._leave(one, one.cover.exposed, asked, newest.price, clock, found)

    def _believes(self, symbol: str, newest: Print, aim: Aim, now: datetime) -> bool:
        """Whether more than this one print asks for the exit; it is kept for the next look."""
        earlier = [one for one in self._prints.get(symbol, []) if newest.at and one.at and newest.at - one.at <= CORROBORATION]
        believed = is_believed(newest, earlier, self._minute_closes(symbol, newest.at or now, now), aim)
        if not earlier or earlier[-1].at != newest.at:
            earlier.append(newest)
        self._prints[symbol] = earlier
        return believed

    def _minute_closes(self, symbol: str, printed_at: datetime, now: datetime) -> list[Decimal]:
        try:
            bars = self._venue.recent_bars(symbol, timeframe=MINUTE, limit=MINUTES_READ, end=now)
        except VenueError as error:
            log.warning("minutes_not_read", symbol=symbol, error=error.message)
            return []
        if not len(bars) or printed_at.timestamp() - float(bars.known_at[-1]) > NEWEST_MINUTE.total_seconds():
            return []
        return [Decimal(repr(close)) for close in bars.close.tolist() if close > 0.0]

    def _rest(self, one: Holding, clock: VenueClock, found: _Findings) -> None:
        """Have the venue hold the levels of whole shares that nothing there protects."""
        cover, symbol = one.cover, one.symbol
        if not cover.whole > 0 or cover.entry_ids or not self._may_try(symbol) or is_external(self._database, one):
            return
        outcome = self._orders.rest(one.position, cover.whole, one.aim, cancels=cover.loose_ids, now=clock.now)
        log.info("protection_placed", symbol=symbol, quantity=str(cover.whole), outcome=outcome)
        if outcome in ("sent", "unknown"):
            found.rested.append(symbol)
            self._not_before.pop(symbol, None)
        elif outcome == "refused":
            self._not_before[symbol] = self._monotonic() + RETRY_SECONDS
            found.notes[symbol] = "the venue refused the protective order"
            self._tell(symbol, "refused", f"{symbol}: the venue refuses its protective order; the exit monitor watches it.")

    def _leave(
        self, one: Holding, quantity: Decimal, reason: Reason, price: Decimal | None, clock: VenueClock, found: _Findings
    ) -> None:
        """The emergency ladder: cancel what holds the units and sell; refused, cancel again; refused again, with a limit."""
        symbol = one.symbol
        if not self._may_try(symbol):
            return
        for rung, how in enumerate(_RUNGS):
            worst = price * (1 - Decimal(repr(self._limits.exit_collar_fraction))) if rung == 2 and price else None
            cancels = self._holding_back(one, everything=quantity > one.cover.exposed)
            outcome = self._orders.leave(one.position, quantity, reason.code, cancels=cancels, now=clock.now, worst_price=worst)
            log.warning("exit_apart_from_cycle", symbol=symbol, reason=reason.code, rung=rung, outcome=outcome)
            if outcome in ("sent", "unknown"):
                found.sold.append(symbol)
                at = f" at {price}" if price is not None else ""
                self._say(f"{symbol}: {reason.code}{at}; {quantity} units are sold {how} by the exit monitor.")
                return
            if outcome == "unsent":
                found.notes[symbol] = "its units are held by another order"
                return
            self._say(f"{symbol}: {reason.code}, but the venue refuses to sell {quantity} units {how}.")
            again = self._look_again(symbol, clock.now)
            if again is None or again.cover.exposed + again.cover.resting <= 0:
                return
            one, quantity = again, min(quantity, again.cover.exposed + again.cover.resting)
        self._not_before[symbol] = self._monotonic() + RETRY_SECONDS
        found.notes[symbol] = "the venue refuses to sell it"
        self._say(f"{symbol}: {reason.code} cannot be carried out; a person has to look. It is tried again every minute.")

    def _holding_back(self, one: Holding, *, everything: bool) -> tuple[str, ...]:
        """Our orders that keep the units from being sold: an unfinished entry, and what holds them."""
        return (*one.cover.entry_ids, *one.cover.loose_ids, *(one.cover.resting_ids if everything else ()))

    def _look_again(self, symbol: str, now: datetime) -> Holding | None:
        held = {name: one for name, one in self._venue.positions().items() if one.quantity > 0}
        self._books.catch_up(self._venue.open_orders(), held, now)
        return next((one for one in holdings_of(self._database, self._limits, held) if one.symbol == symbol), None)

    def _queue(self, symbol: str, reason: Reason, clock: VenueClock, found: _Findings) -> None:
        found.notes[symbol] = f"{reason.code} is due when the venue opens at {clock.next_open:%Y-%m-%d %H:%M} UTC"
        self._tell(symbol, "queued", f"{symbol}: {found.notes[symbol]}.")

    def _is_fresh(self, newest: Print, now: datetime) -> bool:
        return newest.at is not None and (now - newest.at).total_seconds() <= self._limits.max_price_age_seconds

    def _may_try(self, symbol: str) -> bool:
        return self._monotonic() >= self._not_before.get(symbol, float("-inf"))

    def _tell(self, symbol: str, kind: str, text: str) -> None:
        """Say it once while it lasts."""
        if self._told.get(symbol) != kind:
            self._told[symbol] = kind
            self._say(text)

    def _say(self, text: str) -> None:
        self._database.enqueue_alert("protection", text)

    def _forget(self, exposed: Collection[str]) -> None:
        for kept in (self._prints, self._told, self._not_before):
            for symbol in set(kept) - set(exposed):
                del kept[symbol]


def _print(snapshot: Snapshot | None) -> Print | None:
    """A price that is one."""
    if snapshot is None or not 0.0 < snapshot.price < float("inf"):
        return None
    return Print(price=Decimal(repr(snapshot.price)), at=snapshot.priced_at)
