"""An order as the exchange keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_DOWN, Decimal
from enum import StrEnum

from app.domain.instrument import Instrument
from app.domain.order import OPEN_STATUSES, OrderClass, OrderType, Side, TimeInForce
from app.engine.matching import Progress, trailing_stop

_ZERO = Decimal(0)
_CENT = Decimal("0.01")
NINE_PLACES = Decimal("0.000000001")
# An open market or stop order holds a little more than its last price, so that its fill cannot overdraw the account.
UNPRICED_MARGIN = Decimal("1.01")


class Leg(StrEnum):
    """What a child of a bracket, OCO or OTO order is."""

    TAKE_PROFIT = "take_profit"
    STOP_LOSS = "stop_loss"


class Intent(StrEnum):
    """What an order does to the position; Alpaca's position_intent."""

    BUY_TO_OPEN = "buy_to_open"
    BUY_TO_CLOSE = "buy_to_close"
    SELL_TO_OPEN = "sell_to_open"
    SELL_TO_CLOSE = "sell_to_close"

    @property
    def opens(self) -> bool:
        """Whether it opens a position or adds to one; else it reduces one."""
        return self in {Intent.BUY_TO_OPEN, Intent.SELL_TO_OPEN}


@dataclass(frozen=True, slots=True, kw_only=True)
class SimOrder:
    """status in Alpaca's words, instants aware UTC, prices in dollars.

    quantity: None on a notional order. estimate: price that reserves money, or the shares of a notional sell.
    active_from: matching looks at minutes that start at or after it. expires_at: when it ends by itself, None for never.
    group_id: first id of the top order of a bracket, OCO or OTO, shared by all its members and their replacements.
    leg: role of a child, None for a simple or top order. waiting: a leg whose entry has not filled.
    triggered: a stop that was reached. hwm: best price since acceptance, of a trailing stop. executions: how many there were.
    cancel_at: when a requested cancel takes effect; None with status pending_cancel: not before it is released.
    doom: why the exchange will reject it when the clock moves next.
    """

    id: str
    client_order_id: str
    sequence: int
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    order_class: OrderClass
    intent: Intent
    status: str
    submitted_at: datetime
    updated_at: datetime
    active_from: datetime
    quantity: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    extended_hours: bool = False
    estimate: Decimal = _ZERO
    group_id: str | None = None
    leg: Leg | None = None
    waiting: bool = False
    triggered: bool = False
    hwm: Decimal | None = None
    filled_quantity: Decimal = _ZERO
    filled_average_price: Decimal | None = None
    executions: int = 0
    replaces: str | None = None
    replaced_by: str | None = None
    doom: str | None = None
    expires_at: datetime | None = None
    cancel_at: datetime | None = None
    filled_at: datetime | None = None
    canceled_at: datetime | None = None
    expired_at: datetime | None = None
    failed_at: datetime | None = None
    replaced_at: datetime | None = None

    @property
    def parent_id(self) -> str | None:
        """Of a leg: the first id of its parent."""
        return None if self.leg is None else self.group_id

    @property
    def is_open(self) -> bool:
        """Whether it may still fill."""
        return self.status in OPEN_STATUSES

    @property
    def due(self) -> datetime | None:
        """When it ends by itself: its cancel takes effect, or it expires."""
        instants = [at for at in (self.cancel_at, self.expires_at) if at is not None]
        return min(instants, default=None)

    @property
    def paired(self) -> bool:
        """Whether it is the stop of a pair of exits: its take-profit holds the shares of both."""
        return self.leg is Leg.STOP_LOSS and self.order_class is not OrderClass.OTO

    @property
    def progress(self) -> Progress:
        """What matching remembers of it."""
        return Progress(self.triggered, self.hwm)

    @property
    def left(self) -> Decimal:
        """Shares still to be filled; of a notional order as many as it is expected to trade, of a sell at most what it held."""
        if self.notional is None:
            return (self.quantity or _ZERO) - self.filled_quantity
        money = self.notional - self.filled_quantity * (self.filled_average_price or _ZERO)
        if self.side is Side.SELL:
            money = min(money, self.notional - self.filled_quantity * self.estimate)
        return (money / self.estimate).quantize(NINE_PLACES, rounding=ROUND_DOWN)

    @property
    def working_stop(self) -> Decimal | None:
        """The stop price, of a trailing stop the one that follows from its best price, on the tick."""
        if self.type is not OrderType.TRAILING_STOP or self.hwm is None:
            return self.stop_price
        return Instrument(symbol=self.symbol).price_nearest(trailing_stop(self, self.hwm))

    @property
    def reserved_cash(self) -> Decimal:
        """Buying power that it holds while open, if it opens a position; rounded up to the cent."""
        if not (self.is_open and self.intent.opens):
            return _ZERO
        if self.notional is not None:
            return max(self.notional - self.filled_quantity * (self.filled_average_price or _ZERO), _ZERO)
        price = self.limit_price or self.estimate * UNPRICED_MARGIN
        if self.side is Side.SELL:
            price = max(self.estimate, self.limit_price or _ZERO)
        return (self.left * price).quantize(_CENT, rounding=ROUND_CEILING)

    @property
    def reserved_quantity(self) -> Decimal:
        """Shares of the position that it holds while open, if it reduces one."""
        if not self.is_open or self.intent.opens or self.waiting or self.paired:
            return _ZERO
        return self.left
