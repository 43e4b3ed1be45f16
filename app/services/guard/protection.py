"""What protects each holding, as the ledger knows it: for the status page, and for the exit monitor that acts on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from app.domain.exits import PositionPlan, standing
from app.domain.order import Side
from app.domain.portfolio import Position
from app.domain.ports import Clock
from app.domain.records import IntentOrigin
from app.engine.protection import Aim, Cover, cover_of
from app.risk.limits import RiskLimits
from app.services.database_service import DatabaseService

GUARD = "guard"  # the lease of the process that looks after holdings
GUARD_PATIENCE = timedelta(seconds=60)  # wall time without a look after which nobody counts on it
_FILLS_READ = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A position, the levels at which it is left, and who has its units."""

    position: Position
    aim: Aim
    cover: Cover

    @property
    def symbol(self) -> str:
        """Whose it is."""
        return self.position.symbol


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """Who enforces the levels of one holding. protected_by: venue, guard, venue_and_guard, sale (it is being sold) or nobody.
    Quantities in units, prices in the instrument's currency, None where there is no such level. venue_stop_price: the lowest
    of the stops that rest. why: what stands in the way, empty if nothing. offline: what happens while we are away."""

    symbol: str
    quantity: Decimal
    protected_by: str
    venue_quantity: Decimal
    guard_quantity: Decimal
    selling_quantity: Decimal
    unprotected_quantity: Decimal
    stop_price: Decimal | None
    target_price: Decimal | None
    venue_stop_price: Decimal | None
    client_order_ids: tuple[str, ...]
    why: str
    offline: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectionStatus:
    """All holdings, and the process that watches them. guard_seen_at: wall time of its last look."""

    guard_alive: bool
    guard_seen_at: datetime | None
    positions: tuple[Protection, ...]


def holdings_of(database: DatabaseService, limits: RiskLimits, at_venue: Mapping[str, Position] | None = None) -> list[Holding]:
    """Every long position of the books by symbol; none before the books are opened. at_venue: what the venue holds, where
    that was read: the smaller quantity counts."""
    if database.account() is None:
        return []
    orders = database.unsettled_intents()
    positions = sorted(database.portfolio().positions.items())
    if at_venue is not None:
        positions = [
            (symbol, replace(position, quantity=min(position.quantity, at_venue[symbol].quantity)))
            for symbol, position in positions
            if symbol in at_venue
        ]
    plans = standing(database.position_plans(), dict(positions))
    return [
        Holding(position=position, aim=aim_of(position, plans.get(position.symbol), limits), cover=cover_of(position, orders))
        for _, position in positions
        if position.quantity > 0
    ]


def aim_of(position: Position, plan: PositionPlan | None, limits: RiskLimits) -> Aim:
    """The levels of a holding as the last decision set them; before the first one, those that every entry is made with."""
    if plan is not None and plan.stop is not None:
        return Aim(stop=plan.stop, target=plan.target)
    entry = position.average_entry_price
    if not (entry.is_finite() and entry > 0):
        return Aim(stop=None, target=None)
    return Aim(
        stop=entry * (1 - Decimal(repr(limits.stop_loss_fraction))),
        target=entry * (1 + Decimal(repr(limits.take_profit_fraction))),
    )


def is_external(database: DatabaseService, holding: Holding) -> bool:
    """Whether a person bought units of it at the venue: no order of ours may then hold them back from that person."""
    since = holding.position.opened_at
    return any(
        record.fill.side is Side.BUY
        and record.origin in (None, IntentOrigin.EXTERNAL)
        and since is not None
        and record.fill.filled_at >= since
        for record in database.fills(limit=_FILLS_READ, symbol=holding.symbol)
    )


class ProtectionService:
    """The status of every holding's protection, from the ledger alone: it answers while the venue does not."""

    def __init__(self, *, database: DatabaseService, limits: RiskLimits, clock: Clock, is_alive: Callable[[str], bool]) -> None:
        """clock: wall time. is_alive: whether the owner of a lease still runs."""
        self._database = database
        self._limits = limits
        self._clock = clock
        self._is_alive = is_alive

    def status(self) -> ProtectionStatus:
        """As of the last look of the guard, and of the last cycle where the guard has nothing to do."""
        lease = self._database.lease(GUARD)
        alive = (
            lease is not None
            and lease.owner != ""
            and self._clock.now() - lease.renewed_at < GUARD_PATIENCE
            and self._is_alive(lease.owner)
        )
        notes: Mapping[str, str] = lease.status.get("notes", {}) if lease is not None else {}
        return ProtectionStatus(
            guard_alive=alive,
            guard_seen_at=lease.renewed_at if lease is not None else None,
            positions=tuple(
                _described(one, notes.get(one.symbol, ""), guarded=alive) for one in holdings_of(self._database, self._limits)
            ),
        )


def _described(one: Holding, note: str, *, guarded: bool) -> Protection:
    cover, aim = one.cover, one.aim
    watched = cover.exposed if guarded and aim.stop is not None and not note else Decimal(0)
    unprotected = cover.exposed - watched + cover.foreign
    why = note
    if not why and cover.exposed > 0 and not guarded:
        why = "nothing rests at the venue and the exit monitor does not run"
    if not why and cover.foreign > 0:
        why = f"an order of a person holds {cover.foreign} units"
    return Protection(
        symbol=one.symbol,
        quantity=cover.quantity,
        protected_by=_hands(cover, watched, unprotected),
        venue_quantity=cover.resting,
        guard_quantity=watched,
        selling_quantity=cover.leaving,
        unprotected_quantity=unprotected,
        stop_price=aim.stop,
        target_price=aim.target,
        venue_stop_price=cover.stop,
        client_order_ids=cover.resting_ids,
        why=why,
        offline=_offline(cover),
    )


def _hands(cover: Cover, watched: Decimal, unprotected: Decimal) -> str:
    if unprotected > 0:
        return "nobody"
    if cover.resting > 0:
        return "venue_and_guard" if watched > 0 else "venue"
    return "guard" if watched > 0 else "sale"


def _offline(cover: Cover) -> str:
    """One sentence for a person."""
    if cover.leaving >= cover.quantity:
        return f"The order to sell all {cover.quantity} units is with the venue."
    if cover.resting >= cover.quantity:
        return f"The venue holds a stop at {cover.stop} for all {cover.quantity} units; it works without us."
    alone = cover.quantity - cover.resting - cover.leaving
    if cover.resting > 0:
        return (
            f"The venue holds a stop at {cover.stop} for {cover.resting} of {cover.quantity} units; "
            f"nothing would sell the other {alone} until we are back."
        )
    return f"Nothing would sell {alone} of {cover.quantity} units until we are back."
