"""The exact last check. Only this module makes a `ValidatedOrder`; brokers accept nothing else.

The compiled rules size in float64; here every limit is tested again in Decimal at the worst price the order may pay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from app.domain.instrument import Instrument
from app.domain.order import Order, OrderClass, OrderType, Purpose, Side, TimeInForce, ValidatedOrder
from app.domain.trading_state import TradingState
from app.risk.limits import RiskLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What the limits still leave; money in account currency.

    equity: the smaller of the venue's figure and our own mark. gross_value: holdings and open buys at worst price.
    positions: symbols held or being bought. held: units that may still be sold, by symbol. prices: fresh ones, by symbol;
    a symbol without one is not entered.
    """

    state: TradingState
    equity: Decimal
    gross_value: Decimal
    buying_power: Decimal
    positions: frozenset[str]
    held: Mapping[str, Decimal]
    prices: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rule that said no, with the numbers that made it so."""

    rule: str
    detail: str


def validate(order: Order, instrument: Instrument, room: Room, limits: RiskLimits) -> tuple[ValidatedOrder, Room] | Refusal:
    """The order as sendable together with the room it leaves, or the refusal."""
    step = instrument.fraction_step if _may_be_part(order) else instrument.quantity_step
    if order.quantity % step:
        return Refusal("quantity_step", f"{order.quantity} is not on the step {step}")
    if order.purpose is Purpose.EXIT:
        return _validate_exit(order, room, limits)
    refusal = _entry_refusal(order, instrument, room, limits)
    if refusal:
        return refusal
    return ValidatedOrder(order), _room_after(order, room)


def admit(validated: ValidatedOrder, room: Room, limits: RiskLimits) -> Room | Refusal:
    """The rules that depend on what else is held or on its way, once more at the commit, where others may have been first."""
    order = validated.order
    if order.purpose is Purpose.EXIT:
        checked = _validate_exit(order, room, limits)
        return checked if isinstance(checked, Refusal) else checked[1]
    return _room_refusal(order, room, limits) or _room_after(order, room)


def _validate_exit(order: Order, room: Room, limits: RiskLimits) -> tuple[ValidatedOrder, Room] | Refusal:
    held = room.held.get(order.symbol, Decimal(0))
    if order.side is not Side.SELL or order.quantity > held:
        return Refusal("held_quantity", f"an exit may sell at most the {held} held, not {order.quantity}")
    if room.state is TradingState.HALTED:
        return Refusal("halted", "trading is halted")
    price = room.prices.get(order.symbol)
    if order.limit_price is not None and price is not None:
        floor = price * (1 - _exact(limits.exit_collar_fraction))
        if not order.limit_price >= floor:
            return Refusal("price_collar", f"a sale at {order.limit_price} is below the collar of {price}")
    return ValidatedOrder(order), replace(room, held={**room.held, order.symbol: held - order.quantity})


def _room_after(entry: Order, room: Room) -> Room:
    value = _worst_value(entry)
    return replace(
        room,
        gross_value=room.gross_value + value,
        buying_power=room.buying_power - value,
        positions=room.positions | {entry.symbol},
    )


def _entry_refusal(order: Order, instrument: Instrument, room: Room, limits: RiskLimits) -> Refusal | None:
    refusal = _room_refusal(order, room, limits)
    if refusal:
        return refusal
    value, price = _worst_value(order), room.prices.get(order.symbol, Decimal(0))
    if order.limit_price is None or not order.limit_price <= price * (1 + _exact(limits.price_collar_fraction)):
        return Refusal("price_collar", f"{order.limit_price} is above the collar of a fresh price, {price}")
    if not instrument.tradable:
        return Refusal("tradable", "the instrument is not tradable")
    if not value >= instrument.minimum_notional:
        return Refusal("minimum_notional", f"{value} is below {instrument.minimum_notional}")
    return None


def _room_refusal(order: Order, room: Room, limits: RiskLimits) -> Refusal | None:
    if room.state is not TradingState.ACTIVE:
        return Refusal("trading_state", f"entries need ACTIVE, the state is {room.state.name}")
    if order.side is not Side.BUY or order.limit_price is None or order.stop_loss_price is None:
        return Refusal("entry_shape", "an entry is a limit buy with both protective prices")
    if order.symbol in room.positions:
        return Refusal("one_entry", "the symbol is already held or being bought")
    value, equity = _worst_value(order), room.equity
    at_risk = (order.limit_price - order.stop_loss_price) * order.quantity
    rules = (
        (
            "max_positions",
            len(room.positions) < limits.max_positions,
            f"{len(room.positions)} of {limits.max_positions} are taken",
        ),
        ("max_position_size", value <= _exact(limits.max_position_fraction) * equity, f"{value} of equity {equity}"),
        (
            "max_exposure",
            room.gross_value + value <= _exact(limits.max_exposure_fraction) * equity,
            f"{room.gross_value} + {value} of equity {equity}",
        ),
        ("buying_power", value <= room.buying_power, f"{value} of {room.buying_power}"),
        ("risk_per_trade", at_risk <= _exact(limits.risk_per_trade_fraction) * equity, f"{at_risk} at risk of equity {equity}"),
    )
    return next((Refusal(rule, detail) for rule, holds, detail in rules if not holds), None)


def _may_be_part(order: Order) -> bool:
    """Whether venues that keep parts of a unit take them in such an order."""
    plain = order.order_class is OrderClass.SIMPLE and order.type is OrderType.MARKET
    return order.purpose is Purpose.EXIT and plain and order.time_in_force is TimeInForce.DAY


def _worst_value(order: Order) -> Decimal:
    return order.quantity * (order.limit_price or Decimal("NaN"))


def _exact(fraction: float) -> Decimal:
    return Decimal(repr(fraction))
