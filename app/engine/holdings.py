"""From the levels of the rules to what becomes of a holding: its plan, the stop at the venue that moves up, the pair of exits
that covers what a partial sale leaves."""

from __future__ import annotations

import math
from decimal import Decimal

from app.domain.errors import InvalidInput
from app.domain.exits import PositionPlan, Progress
from app.domain.instrument import Instrument
from app.domain.order import Order, OrderType, Purpose, Side, TimeInForce, client_order_id
from app.domain.reason import Reason
from app.domain.trading_state import TradingState
from app.engine.case import Case
from app.engine.decision import LegMove, OpenOrder
from app.risk.exits import BOUNDARY

PROTECT = "protect"


def plans(case: Case) -> dict[str, PositionPlan]:
    """How each holding of the view is going to be left."""
    found = {}
    for i, symbol in enumerate(case.view.symbols):
        position, instrument = (
            case.book.positions.get(symbol),
            case.context.instruments.get(symbol) or Instrument(symbol=symbol),
        )
        if position is None or not position.quantity > 0:
            continue
        stop, target, partial = case.outcome.levels[i].tolist()
        found[symbol] = PositionPlan(
            symbol=symbol,
            opened_at=position.opened_at,
            progress=Progress(*case.outcome.progress[i].tolist()),
            stop=_stop_at(instrument, stop),
            target=_target_at(instrument, target),
            partial=_target_at(instrument, partial),
        )
    return found


def moves(case: Case, state: TradingState) -> tuple[LegMove, ...]:
    """The protective stops at the venue that break-even or trailing has left at least a tick behind, in symbol order."""
    if state in (TradingState.HALTED, TradingState.FLATTENING):
        return ()
    at = {symbol: i for i, symbol in enumerate(case.view.symbols)}
    found = []
    for order in case.book.open_orders:
        i = at.get(order.symbol)
        if i is None or case.outcome.reason[i] != Reason.HOLD_POSITION or not Progress(*case.outcome.progress[i]).stop > 0.0:
            continue
        move = _move(order, case.context.instruments.get(order.symbol), case.outcome.levels[i][0], case.view.price[i])
        if move is not None:
            found.append(move)
    return tuple(sorted(found, key=lambda move: at[move.symbol]))


def pair(case: Case, i: int, instrument: Instrument, sold: Decimal) -> Order | None:
    """The pair of exits for what is left once `sold` units are; None where the venue can hold none for it."""
    symbol = case.view.symbols[i]
    left = case.book.positions[symbol].quantity - sold
    stop, target = (float(level) for level in case.outcome.levels[i][:2])
    loss, gain = _stop_at(instrument, stop), _target_at(instrument, target)
    if loss is None or gain is None or not left > 0 or left != left.to_integral_value():
        return None
    return Order(
        client_order_id=client_order_id(
            account=case.context.account_id,
            strategy=case.sleeve(i).strategy,
            decided_for=f"{case.context.cycle_id}-{PROTECT}",
            symbol=symbol,
            side=Side.SELL,
            purpose=Purpose.EXIT,
        ),
        symbol=symbol,
        side=Side.SELL,
        quantity=left,
        purpose=Purpose.EXIT,
        reason=PROTECT,
        type=OrderType.LIMIT,
        time_in_force=TimeInForce.GTC,
        limit_price=gain,
        take_profit_price=gain,
        stop_loss_price=loss,
    )


def _move(order: OpenOrder, instrument: Instrument | None, level: float, price: float) -> LegMove | None:
    resting = order.stop_price
    if instrument is None or resting is None or not order.protective or not order.at_venue or order.external:
        return None
    wanted = _stop_at(instrument, float(level))
    if wanted is None or not wanted - resting >= instrument.tick(wanted) or not float(wanted) < price:
        return None
    return LegMove(client_order_id=order.client_order_id, symbol=order.symbol, stop_price=wanted)


def _stop_at(instrument: Instrument, level: float) -> Decimal | None:
    """The highest price on the tick that counts as having fallen to a stop; None for a level that is none."""
    try:
        price = instrument.price_down(level * (1.0 + BOUNDARY)) if math.isfinite(level) else Decimal(0)
    except InvalidInput:
        return None
    return price if price > 0 else None


def _target_at(instrument: Instrument, level: float) -> Decimal | None:
    """The lowest price on the tick that counts as having risen to a target."""
    try:
        price = instrument.price_up(level * (1.0 - BOUNDARY)) if math.isfinite(level) else Decimal(0)
    except InvalidInput:
        return None
    return price if price > 0 else None
