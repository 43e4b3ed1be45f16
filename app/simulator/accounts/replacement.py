"""PATCH /v2/orders/{id}: a new order takes the place of an open one, which ends as `replaced`.

The new order is for what is left: of a partly filled order, `qty` is the whole amount and what has filled counts. Members of
a bracket, OCO or OTO keep their group; the quantity of its legs follows the top order's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from app.domain.order import OrderClass, OrderType, TimeInForce
from app.simulator import request_fields as read
from app.simulator.accounts import acceptance, session_rules
from app.simulator.accounts.account_state import AccountState
from app.simulator.accounts.ledger import Leg, SimOrder
from app.simulator.accounts.order_request import NewOrder, check_terms
from app.simulator.errors import unprocessable

_REPLACEABLE = frozenset(["new", "partially_filled", "held"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """What is to be different; None leaves a term as it is. trail: the new trail_price or trail_percent."""

    quantity: Decimal | None = None
    time_in_force: TimeInForce | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    client_order_id: str | None = None


def parse_replacement(fields: Mapping[str, Any]) -> Replacement:
    """A Replacement, or ApiError 422 naming the first field that is wrong."""
    if fields.get("notional") is not None:
        raise unprocessable("notional is only accepted for IPO orders")
    return Replacement(
        quantity=read.amount(fields, "qty"),
        time_in_force=read.word(TimeInForce, fields, "time_in_force"),
        limit_price=read.price(fields, "limit_price"),
        stop_price=read.price(fields, "stop_price"),
        trail=read.amount(fields, "trail"),
        client_order_id=read.client_order_id(fields.get("client_order_id")),
    )


def replace_order(account: AccountState, old: SimOrder, wanted: Replacement) -> SimOrder:
    """Put the new order in the old one's place. Raises ApiError and changes nothing when that cannot be."""
    _check_replaceable(old, wanted)
    acceptance.check_client_id(account, wanted.client_order_id)
    new = _successor(account, old, wanted)
    check_terms(_request(new))
    session_rules.check_window(account.market, account.now, new.time_in_force)
    _check_group(account, old, new)
    if new.intent.opens or not (new.waiting or new.paired):
        acceptance.check_position(account, new, freed=old.reserved_quantity)
    acceptance.check_wash_trade(account, new, replaced=old)
    acceptance.check_funds(account, new, freed=old.reserved_cash)
    return _swap(account, old, new)


def _check_replaceable(old: SimOrder, wanted: Replacement) -> None:
    if not old.is_open:
        raise unprocessable(f"order is not open: it is {old.status}")
    if old.status == "accepted":
        raise unprocessable("unable to replace order, order isn't sent to exchange yet")
    if old.status not in _REPLACEABLE:
        raise unprocessable(f"unable to replace order in {old.status} status")
    if old.notional is not None:
        raise unprocessable("notional orders cannot be replaced")
    if wanted.trail is not None and old.type is not OrderType.TRAILING_STOP:
        raise unprocessable("trail is only accepted with trailing stop orders")
    if wanted.quantity not in {None, old.quantity}:
        _check_quantity(old, wanted.quantity or Decimal(0))
    if wanted.time_in_force not in {None, old.time_in_force} and old.group_id is not None:
        raise unprocessable(f"time_in_force of {old.order_class} orders cannot be changed")
    present = (old.quantity, old.time_in_force, old.limit_price, old.stop_price, old.trail_price or old.trail_percent)
    asked = (wanted.quantity, wanted.time_in_force, wanted.limit_price, wanted.stop_price, wanted.trail)
    if wanted.client_order_id is None and all(a is None or a == p for a, p in zip(asked, present, strict=True)):
        raise unprocessable("order parameters are not changed")


def _check_quantity(old: SimOrder, quantity: Decimal) -> None:
    if old.leg is not None:
        raise unprocessable("qty of a leg follows its parent order and cannot be changed")
    if any(number != number.to_integral_value() for number in (quantity, old.quantity or quantity)):
        raise unprocessable("qty of fractional orders cannot be changed")
    if quantity <= old.filled_quantity:
        raise unprocessable(f"qty must be > filled_qty {acceptance.plain(old.filled_quantity)}")


def _successor(account: AccountState, old: SimOrder, wanted: Replacement) -> SimOrder:
    ledger, market, now, sequence = account.ledger, account.market, account.now, len(account.ledger.orders)
    client_id = wanted.client_order_id or ledger.name("client", sequence)
    force, stop = wanted.time_in_force or old.time_in_force, wanted.stop_price or old.stop_price
    works = session_rules.is_open(market, now, extended=old.extended_hours)
    price = account.price(old.symbol) or old.estimate
    return replace(
        old,
        id=ledger.name("order", client_id),
        client_order_id=client_id,
        sequence=sequence,
        status="held" if old.status == "held" else "new" if works else "accepted",
        submitted_at=now,
        updated_at=now,
        active_from=now,
        quantity=(wanted.quantity or old.quantity or Decimal(0)) - old.filled_quantity,
        time_in_force=force,
        limit_price=wanted.limit_price or old.limit_price,
        stop_price=stop,
        trail_price=(wanted.trail or old.trail_price) if old.trail_price else None,
        trail_percent=(wanted.trail or old.trail_percent) if old.trail_percent else None,
        estimate=acceptance.estimate(account, old.symbol, old.side, price, stop),
        triggered=old.triggered and stop == old.stop_price,
        filled_quantity=Decimal(0),
        filled_average_price=None,
        filled_at=None,
        executions=0,
        replaces=old.id,
        expires_at=session_rules.expiry(market, now, force, extended=old.extended_hours),
    )


def _request(order: SimOrder) -> NewOrder:
    """The terms of one order alone, to be checked like a new one's."""
    return NewOrder(
        symbol=order.symbol,
        side=order.side,
        type=order.type,
        time_in_force=order.time_in_force,
        order_class=OrderClass.SIMPLE,
        client_order_id=None,
        quantity=order.quantity,
        notional=None,
        limit_price=order.limit_price,
        stop_price=order.stop_price,
        trail_price=order.trail_price,
        trail_percent=order.trail_percent,
        extended_hours=order.extended_hours,
    )


def _check_group(account: AccountState, old: SimOrder, new: SimOrder) -> None:
    """The prices of a group must stay on the right sides of each other."""
    if old.group_id is None:
        return
    top, *legs = (new if member.id == old.id else member for member in account.ledger.family(old))
    gain = next((leg for leg in legs if leg.leg is Leg.TAKE_PROFIT), top if top.order_class is OrderClass.OCO else None)
    loss = next((leg for leg in legs if leg.leg is Leg.STOP_LOSS), None)
    levels = replace(
        _request(top),
        order_class=top.order_class if top.is_open else OrderClass.OCO,
        side=top.side if top.is_open else legs[0].side,
        take_profit_price=None if gain is None else gain.limit_price,
        stop_loss_price=None if loss is None else loss.stop_price,
        stop_loss_limit_price=None if loss is None else loss.limit_price,
    )
    acceptance.check_levels(levels, account.price(new.symbol) or new.estimate)


def _swap(account: AccountState, old: SimOrder, new: SimOrder) -> SimOrder:
    ledger, now = account.ledger, account.now
    ended = ledger.put(replace(old, status="replaced", replaced_by=new.id, replaced_at=now, updated_at=now, doom=None))
    ledger.tell("replaced", ended, now)
    ledger.put(new)
    if new.status != "held":
        ledger.tell(new.status, new, now)
    if new.group_id is not None and new.leg is None:
        whole = ledger.entered(new) + new.left if new.intent.opens else new.left
        for leg in ledger.legs(new.id):
            ledger.put(replace(leg, quantity=whole + leg.filled_quantity, updated_at=now))
    return new
