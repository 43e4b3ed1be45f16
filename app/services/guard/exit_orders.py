"""Orders that protect a holding or leave it, apart from any cycle: committed, sent once, and settled like all others.

Their ids are made of the holding's identity, so whoever wants the same thing at the same time arrives at the same order; the
commit allows no more than is held minus what other orders sell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import structlog

from app.domain.errors import NotFound
from app.domain.instrument import Instrument
from app.domain.order import Order, OrderType, Purpose, Side, TimeInForce, exit_client_order_id
from app.domain.portfolio import Position
from app.domain.trading_state import TradingState
from app.engine.protection import PROTECTION, Aim
from app.risk.checks import Refusal, Room, validate
from app.risk.limits import RiskLimits
from app.risk.reservations import Capacity
from app.services.alpaca_service import AlpacaService
from app.services.database_service import DatabaseService
from app.services.trading.execution import Executor

log = structlog.get_logger()

LIFE = timedelta(seconds=60)  # an order not sent by then is decided afresh
SMALLEST_FRACTION = Decimal("0.000000001")


class ExitOrders:
    """Writes, commits and sends them. Every method answers how the order fared: sent, refused, unknown or unsent."""

    def __init__(
        self,
        *,
        venue: AlpacaService,
        database: DatabaseService,
        executor: Executor,
        limits: RiskLimits,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        """may_act: whether it is still this process's turn; asked before each commit."""
        self._venue = venue
        self._database = database
        self._executor = executor
        self._limits = limits
        self._may_act = may_act

    def rest(self, position: Position, quantity: Decimal, aim: Aim, *, cancels: Sequence[str], now: datetime) -> str:
        """Have the venue hold stop and target for `quantity` whole units. cancels: what holds them now."""
        if aim.stop is None or aim.target is None:
            return "unsent"
        rules = self._rules(position.symbol)
        target = rules.price_up(aim.target)
        order = Order(
            **self._named(position, "protect"),
            quantity=quantity,
            type=OrderType.LIMIT,
            time_in_force=TimeInForce.GTC,
            limit_price=target,
            take_profit_price=target,
            stop_loss_price=rules.price_up(aim.stop),
        )
        return self._send(order, rules, cancels=cancels, now=now)

    def leave(
        self,
        position: Position,
        quantity: Decimal,
        reason: str,
        *,
        cancels: Sequence[str],
        now: datetime,
        worst_price: Decimal | None = None,
    ) -> str:
        """Sell `quantity` at the market, or at no less than `worst_price`. cancels: what holds the units, or buys more."""
        rules = self._rules(position.symbol)
        if quantity != quantity.to_integral_value():
            rules = replace(rules, quantity_step=SMALLEST_FRACTION)
        order = Order(**self._named(position, reason), quantity=quantity)
        if worst_price is not None:
            order = replace(order, type=OrderType.LIMIT, limit_price=rules.price_up(worst_price))
        return self._send(order, rules, cancels=cancels, now=now)

    def _send(self, order: Order, rules: Instrument, *, cancels: Sequence[str], now: datetime) -> str:
        bound = log.bind(client_order_id=order.client_order_id, symbol=order.symbol, reason=order.reason)
        checked = validate(order, rules, self._room(order), self._limits)
        if isinstance(checked, Refusal):
            bound.warning("exit_order_refused", rule=checked.rule, detail=checked.detail)
            return "unsent"
        validated, _ = checked
        if not self._may_act():
            return "unsent"
        capacity = Capacity(equity=Decimal(0), buying_power=Decimal(0), prices={}, limits=self._limits)
        committed = self._database.commit_orders(
            [validated], source=PROTECTION, capacity=capacity, expires_at=now + LIFE, at=now, releasing=cancels
        )
        name = order.client_order_id
        if name in committed.refusals:
            bound.info("exit_order_has_no_room", detail=committed.refusals[name])
            return "unsent"
        if self._database.intent(name).order() != order:  # somebody else was first, with other terms
            return "unsent"
        sent = self._executor.send([validated], cancels=cancels, cycle_id=None, now=now)
        return next((word for word in ("sent", "refused", "unknown") if getattr(sent, word)), "unsent")

    def _room(self, order: Order) -> Room:
        """What the first check needs of an exit; what else is sold meanwhile is looked at by the commit."""
        nothing = Decimal(0)
        return Room(
            state=TradingState.REDUCING,
            equity=nothing,
            gross_value=nothing,
            buying_power=nothing,
            positions=frozenset({order.symbol}),
            held={order.symbol: order.quantity},
        )

    def _named(self, position: Position, reason: str) -> dict[str, Any]:
        """The part of an order that says whose it is: the first id of this holding and reason that was never used."""
        account = self._database.account()
        holding = position.opened_at.isoformat() if position.opened_at else "adopted"
        attempt = 0
        while True:
            name = exit_client_order_id(
                account=account.account_id if account else "",
                symbol=position.symbol,
                position_id=holding,
                reason=reason,
                attempt=attempt,
            )
            if not self._is_known(name):
                break
            attempt += 1
        return {
            "client_order_id": name,
            "symbol": position.symbol,
            "side": Side.SELL,
            "purpose": Purpose.EXIT,
            "reason": reason,
        }

    def _is_known(self, client_order_id: str) -> bool:
        try:
            self._database.intent(client_order_id)
        except NotFound:
            return False
        return True

    def _rules(self, symbol: str) -> Instrument:
        """Trading rules; those of any share for a holding that is not on the watch list."""
        return self._venue.instruments().get(symbol) or Instrument(symbol=symbol)
