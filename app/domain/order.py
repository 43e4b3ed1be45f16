"""Orders: what we decided to send, and what the venue says became of it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from app.domain.errors import InvalidInput

CLIENT_ID_PREFIX = "at"
_OWN_ID = re.compile(rf"{CLIENT_ID_PREFIX}-[^-].*-x?[0-9a-f]{{24}}")


class Side(StrEnum):
    """Direction of an order or fill."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1


class OrderType(StrEnum):
    """How the price of an order is set."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TRAILING_STOP = "trailing_stop"


class TimeInForce(StrEnum):
    """How long an order stays in force.

    day: to the close. gtc: until cancelled. opg, cls: the opening or closing auction alone. ioc: at once, what does not fill
    is cancelled. fok: at once and whole, or not at all.
    """

    DAY = "day"
    GTC = "gtc"
    OPG = "opg"
    CLS = "cls"
    IOC = "ioc"
    FOK = "fok"


class OrderClass(StrEnum):
    """simple: one order. bracket: an entry whose fill releases a take-profit and a stop-loss, one cancelling the other.
    oco: those two exits for shares already held. oto: an entry whose fill releases one of the two.
    """

    SIMPLE = "simple"
    BRACKET = "bracket"
    OCO = "oco"
    OTO = "oto"


class Purpose(StrEnum):
    """Why an order exists: to take on risk or to shed it."""

    ENTRY = "entry"
    EXIT = "exit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order as decided. Prices in the instrument's currency; a bracket carries both protective prices, and so does an OCO,
    the pair of exits for units already held: a limit order at the take-profit price with a stop-loss beside it."""

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    purpose: Purpose
    reason: str
    type: OrderType = OrderType.MARKET
    time_in_force: TimeInForce = TimeInForce.DAY
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    take_profit_price: Decimal | None = None
    stop_loss_price: Decimal | None = None

    def __post_init__(self) -> None:
        if not (self.quantity.is_finite() and self.quantity > 0):
            raise InvalidInput(f"{self.symbol}: quantity must be above zero, got {self.quantity}")
        for name in ("limit_price", "stop_price", "take_profit_price", "stop_loss_price"):
            price: Decimal | None = getattr(self, name)
            if price is not None and not (price.is_finite() and price > 0):
                raise InvalidInput(f"{self.symbol}: {name} must be above zero, got {price}")
        if (self.take_profit_price is None) != (self.stop_loss_price is None):
            raise InvalidInput(f"{self.symbol}: a bracket needs both a take-profit and a stop-loss price")
        if self.order_class is OrderClass.OCO:
            self._check_pair()

    @property
    def order_class(self) -> OrderClass:
        """With protective prices a bracket if it enters, an OCO if it exits; else simple."""
        if self.take_profit_price is None:
            return OrderClass.SIMPLE
        return OrderClass.BRACKET if self.purpose is Purpose.ENTRY else OrderClass.OCO

    def _check_pair(self) -> None:
        gain, loss = self.take_profit_price, self.stop_loss_price
        if self.type is not OrderType.LIMIT or self.limit_price != gain or self.stop_price is not None:
            raise InvalidInput(f"{self.symbol}: an OCO is a limit order at its take-profit price")
        if gain is None or loss is None or not (gain - loss) * self.side.sign < 0:
            raise InvalidInput(f"{self.symbol}: the stop-loss {loss} is on the wrong side of the take-profit {gain}")


@dataclass(frozen=True, slots=True)
class ValidatedOrder:
    """An order that passed the exact risk checks; brokers accept nothing else. Only `app.risk.checks` makes one."""

    order: Order


def client_order_id(*, account: str, strategy: str, decided_for: str, symbol: str, side: Side, purpose: Purpose) -> str:
    """The id under which the venue knows an order: a pure function of the decision, so that a second worker, a
    redelivered task or a restart computes the same one.

    decided_for: the cycle's id, or for exits that outlive a cycle the position's own identity.
    """
    text = "|".join((account, strategy, decided_for, symbol, side, purpose))
    return f"{CLIENT_ID_PREFIX}-{symbol.lower()}-{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}"


def exit_client_order_id(*, account: str, symbol: str, position_id: str, reason: str, attempt: int) -> str:
    """The id of an exit that no cycle owns: whoever wants to close the same position for the same reason, at whatever time,
    arrives at the same order.

    position_id: what tells this holding from an earlier one in the symbol. attempt: counts the orders that ended unfilled.
    """
    text = "|".join((account, symbol, position_id, reason, str(attempt), Purpose.EXIT))
    return f"{CLIENT_ID_PREFIX}-{symbol.lower()}-x{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}"


def is_own_id(client_order_id: str) -> bool:
    """Whether an id is one that this product makes, whoever's database knows the order."""
    return _OWN_ID.fullmatch(client_order_id) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueOrder:
    """An order as the venue reports it. status: the venue's own word.

    legs: the protective orders of a bracket where the venue told them; parent_order_id ties each to its entry.
    replaces, replaced_by: venue ids of the orders before and after this one where its terms were changed at the venue.
    """

    venue_order_id: str
    client_order_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    filled_quantity: Decimal
    filled_average_price: Decimal | None
    status: str
    submitted_at: datetime
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    parent_order_id: str | None = None
    replaces: str | None = None
    replaced_by: str | None = None
    legs: tuple[VenueOrder, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether the venue may still fill it."""
        return self.status in OPEN_STATUSES

    @property
    def is_pending(self) -> bool:
        """Whether the venue has yet to carry out what it was asked; that takes moments, not minutes."""
        return self.status in PENDING_STATUSES


OPEN_STATUSES = frozenset(
    {"new", "accepted", "pending_new", "partially_filled", "held", "accepted_for_bidding", "pending_cancel", "pending_replace"}
)
PENDING_STATUSES = frozenset({"pending_new", "pending_cancel", "pending_replace"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution. execution_id: the venue's, unique, the key against booking twice. commission in currency, >= 0.

    reverses: the execution that the venue declared void (a bust, or the old terms of a correction); this one takes it back.
    """

    execution_id: str
    venue_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    filled_at: datetime
    commission: Decimal = Decimal(0)
    reverses: str | None = None
