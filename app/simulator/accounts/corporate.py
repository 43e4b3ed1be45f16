"""Splits and dividends: what they do to an account when the hours of their day begin.

A split multiplies shares and divides prices, of the position and of open orders (rounded to whole shares downwards, where
whole shares were ordered, and to the tick: what is paid down, what is received up). A reverse split cancels open orders, and
what comes to less than the smallest part of a share is paid out. A dividend is paid for the shares held then, and owed for
those sold short; it is per share after a split of the same day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import ROUND_DOWN, Decimal

from app.domain.order import Side
from app.simulator.accounts.account_state import AccountState
from app.simulator.accounts.ledger import Entry, SimOrder
from app.simulator.accounts.sim_order import NINE_PLACES
from app.simulator.tape.actions import CorporateAction

_ONE = Decimal(1)
_CENT = Decimal("0.01")


def apply_actions(account: AccountState, number: int, at: datetime) -> None:
    """Let every action of session `number` take effect at `at`."""
    splits_first = sorted(account.market.actions(number), key=lambda action: action.kind != "split")
    for index, action in enumerate(splits_first):
        name = account.ledger.name("entry", action.ex_date, action.symbol, action.kind, index)
        if action.kind == "split":
            _split(account, action, name, at)
        else:
            _pay(account, action, name, at)


def _split(account: AccountState, action: CorporateAction, name: str, at: datetime) -> None:
    ledger, ratio = account.ledger, action.value
    for order in ledger.open_orders_of(action.symbol):
        if ratio < 1:
            account.end(ledger.orders[order.id], "canceled", at)
        else:
            ledger.put(_adjusted(account, order, ratio, at))
    held = ledger.position_quantity(action.symbol)
    if held:
        after = (held * ratio).quantize(NINE_PLACES, rounding=ROUND_DOWN)
        in_lieu = Decimal(0) if after else held * ratio * (account.price(action.symbol) or Decimal(0))
        words = f"{action.symbol} split, {ratio} new for each old share"
        ledger.enter(_entry(action, name, at, "SPLIT", net_amount=in_lieu, quantity=after - held, words=words))


def _pay(account: AccountState, action: CorporateAction, name: str, at: datetime) -> None:
    held = account.ledger.position_quantity(action.symbol)
    if held:
        words = f"Cash dividend @ {action.value}, {action.symbol}"
        account.ledger.enter(_entry(action, name, at, "DIV", net_amount=held * action.value, quantity=held, words=words))


def _entry(
    action: CorporateAction, name: str, at: datetime, kind: str, *, net_amount: Decimal, quantity: Decimal, words: str
) -> Entry:
    return Entry(
        entry_id=name,
        activity_type=kind,
        at=at,
        day=action.ex_date,
        net_amount=net_amount,
        symbol=action.symbol,
        quantity=quantity,
        per_share_amount=action.value if kind == "DIV" else None,
        description=words,
    )


def _adjusted(account: AccountState, order: SimOrder, ratio: Decimal, at: datetime) -> SimOrder:
    instrument = account.instrument(order.symbol)
    rounded = instrument.price_down if order.side is Side.BUY else instrument.price_up
    quantity = order.quantity
    if quantity is not None:
        step = _ONE if quantity == quantity.to_integral_value() else NINE_PLACES
        left = (order.left * ratio).quantize(step, rounding=ROUND_DOWN)
        quantity = order.filled_quantity + left
    return replace(
        order,
        quantity=quantity,
        limit_price=_divided(order.limit_price, ratio, rounded),
        stop_price=_divided(order.stop_price, ratio, rounded),
        trail_price=_divided(order.trail_price, ratio, lambda price: max(instrument.price_nearest(price), _CENT)),
        hwm=_divided(order.hwm, ratio, instrument.price_nearest),
        estimate=order.estimate / ratio,
        updated_at=at,
    )


def _divided(price: Decimal | None, ratio: Decimal, rounded: Callable[[Decimal], Decimal]) -> Decimal | None:
    return None if price is None else rounded(price / ratio)
