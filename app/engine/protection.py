"""What protects a holding, and whether a price asks to leave it: pure, so that status page and exit monitor agree.

A unit of a holding is in one of these hands: a stop that rests at the venue (it works while we are away), an order that is
selling it, an order of a person, or none; what is in no hand is for the exit monitor to watch.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal

from app.domain.order import OrderType, Side, VenueOrder
from app.domain.order_state import OrderState
from app.domain.portfolio import Position
from app.domain.reason import Reason
from app.domain.records import IntentOrigin, IntentRecord

PROTECTION = "protection"  # `source` of the orders that protect a holding or carry out its exit apart from any cycle
CORROBORATION = timedelta(seconds=60)
LARGEST_JUMP = Decimal("0.25")  # of the price: a single print further than that from the last minutes needs a second one

_BOUNDARY = Decimal("1e-9")  # as in the rules: a price counts as having reached a level within it
_STOPS = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP})
_UNCLEAR = frozenset({OrderState.READY, OrderState.SENT, OrderState.UNKNOWN})
_NONE = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """Prices at which a holding is left; None where there is no such level."""

    stop: Decimal | None
    target: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """The units of one holding by the hand they are in.

    resting: a stop rests at the venue. leaving: an order sells them, or its fate is being looked up. foreign: held by an order
    of a person that is no stop. loose: held by an exit of ours whose stop is gone. bare: nothing at the venue has them.
    resting_ids, loose_ids: our client order ids. entry_ids: those of an entry of ours in the symbol that may still fill, and of
    its waiting legs. stop: the lowest price of the resting stops.
    """

    quantity: Decimal
    resting: Decimal
    leaving: Decimal
    foreign: Decimal
    loose: Decimal
    bare: Decimal
    resting_ids: tuple[str, ...]
    loose_ids: tuple[str, ...]
    entry_ids: tuple[str, ...]
    stop: Decimal | None

    @property
    def exposed(self) -> Decimal:
        """Units that nothing at the venue protects and nobody sells: those to be watched."""
        return self.loose + self.bare

    @property
    def whole(self) -> Decimal:
        """The exposed units that a stop at the venue can take: whole shares."""
        return self.exposed.to_integral_value(rounding=ROUND_DOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Print:
    """The newest trade as read. at: when it happened; None unknown."""

    price: Decimal
    at: datetime | None


def cover_of(position: Position, orders: Collection[IntentRecord]) -> Cover:
    """orders: the unsettled ones, at least of this symbol; legs of an entry count once the entry has ended."""
    mine = [one for one in orders if one.symbol == position.symbol]
    entries = [one.client_order_id for one in mine if one.side is Side.BUY and one.origin is IntentOrigin.DECISION]
    open_buys = {one.client_order_id for one in mine if one.side is Side.BUY}
    hands: dict[str, Decimal] = {"resting": _NONE, "leaving": _NONE, "foreign": _NONE, "loose": _NONE}
    names: dict[str, list[str]] = {hand: [] for hand in hands}
    stops: list[Decimal] = []
    for group in _groups(mine).values():
        if group[0].parent_id in open_buys:
            entries += [one.client_order_id for one in group if group[0].parent_id in entries]
            continue
        hand = _hand(group)
        hands[hand] += max((one.quantity - one.filled_quantity for one in group), default=_NONE)
        names[hand] += [one.client_order_id for one in group]
        if hand == "resting":
            stops += [one.stop_price for one in group if one.stop_price is not None]
    left = max(position.quantity, _NONE)
    for hand in ("resting", "leaving", "foreign", "loose"):
        hands[hand] = min(hands[hand], left)
        left -= hands[hand]
    return Cover(
        quantity=position.quantity,
        bare=left,
        resting_ids=tuple(names["resting"]),
        loose_ids=tuple(names["loose"]),
        entry_ids=tuple(entries),
        stop=min(stops, default=None),
        **hands,
    )


def reached(price: Decimal, aim: Aim) -> Reason | None:
    """The exit that a price asks for; the stop before the target. A price that is no number asks for none."""
    if not (price.is_finite() and price > 0):
        return None
    if aim.stop is not None and price <= aim.stop * (1 + _BOUNDARY):
        return Reason.STOP_LOSS
    if aim.target is not None and price >= aim.target * (1 - _BOUNDARY):
        return Reason.TAKE_PROFIT
    return None


def is_believed(new: Print, earlier: Sequence[Print], closes: Sequence[Decimal], aim: Aim) -> bool:
    """Whether more than one print asks for the exit that `new` asks for. earlier: the prints read before, oldest first.
    closes: those of the last complete minutes, oldest first.

    A later print within a minute of the first, or the close of the newest minute, has to agree; where the price is far from
    the minutes before, both have to.
    """
    asked = reached(new.price, aim)
    if asked is None:
        return False
    again = any(
        reached(one.price, aim) is asked
        and one.at is not None
        and new.at is not None
        and timedelta(0) < new.at - one.at <= CORROBORATION
        for one in earlier
    )
    by_minute = bool(closes) and reached(closes[-1], aim) is asked
    usual = sorted(closes)[len(closes) // 2] if closes else None
    jumped = usual is not None and not abs(new.price / usual - 1) <= LARGEST_JUMP
    return (again and by_minute) if jumped else (again or by_minute)


def stops_at_venue(orders: Collection[VenueOrder]) -> dict[str, Decimal]:
    """Units that stops resting at the venue would sell, by symbol. A symbol with an open buy is left out: its stops may be
    those that wait for the rest of the entry."""
    buying = {order.symbol for order in orders if order.side is Side.BUY}
    stops: dict[str, Decimal] = {}
    for order in orders:
        if order.side is Side.SELL and order.type in _STOPS and order.is_open and order.symbol not in buying:
            stops[order.symbol] = stops.get(order.symbol, _NONE) + order.quantity - order.filled_quantity
    return stops


def _groups(orders: Collection[IntentRecord]) -> dict[str, list[IntentRecord]]:
    """Sales of which only one can fill, together."""
    groups: dict[str, list[IntentRecord]] = {}
    for one in orders:
        if one.side is Side.SELL:
            groups.setdefault(one.parent_id or one.client_order_id, []).append(one)
    return groups


def _hand(group: Sequence[IntentRecord]) -> str:
    if any(one.state in _UNCLEAR for one in group):
        return "leaving"
    if any(one.type in _STOPS for one in group):
        return "resting"
    if all(one.origin is IntentOrigin.EXTERNAL for one in group):
        return "foreign"
    return "loose" if any(one.is_protective for one in group) else "leaving"
