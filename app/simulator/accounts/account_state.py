"""What an account is at its clock: its books, what they are worth there, and how an order of it ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import numpy as np

from app.domain.errors import InvalidInput
from app.domain.instrument import Instrument
from app.engine.costs import UNLIMITED, CostModel, Liquidity
from app.simulator.accounts.configuration import Configuration
from app.simulator.accounts.ledger import Ledger, SimOrder
from app.simulator.accounts.margin import Margin, margin_of, spendable
from app.simulator.accounts.sim_order import NINE_PLACES
from app.simulator.errors import forbidden
from app.simulator.tape.columns import bid_and_ask
from app.simulator.tape.market import Market

_ZERO = Decimal(0)
_STAMPS = {"canceled": "canceled_at", "expired": "expired_at", "rejected": "failed_at"}


class AccountState:
    """One account on a market, and its own view of the clock. key_id: the key that opens it, "" until the first one comes.

    multiplier: what it may buy for each dollar of its own, 1 for a cash account without short sales. cancel_seconds: simulated
    time until a cancel takes effect. trading_blocked, account_blocked: the venue takes no order and no replacement.
    """

    def __init__(
        self,
        *,
        market: Market,
        ledger: Ledger,
        costs: CostModel,
        now: datetime,
        key_id: str = "",
        multiplier: int = 1,
        cancel_seconds: float = 0.0,
        liquidity: Liquidity = UNLIMITED,
    ) -> None:
        if multiplier not in {1, 2, 4}:
            raise InvalidInput(f"multiplier must be 1 (cash account), 2 or 4, got {multiplier}")
        if not 0 <= cancel_seconds <= 86_400:
            raise InvalidInput(f"cancel_seconds must be between 0 and 86400, got {cancel_seconds}")
        self.key_id = key_id
        self.market = market
        self.ledger = ledger
        self.costs = costs
        self.now = now
        self.opened_at = now
        self.multiplier = multiplier
        self.cancel_seconds = cancel_seconds
        self.liquidity = liquidity
        self.configuration = Configuration()
        self.trading_blocked = self.account_blocked = False
        self._instruments: dict[str, Instrument] = {}
        self._prices: dict[str, Decimal | None] = {}  # by symbol, of `_priced_at`
        self._priced_at = -1

    @property
    def second(self) -> int:
        """The clock in whole seconds since 1970 UTC: what the tape is asked with."""
        return int(self.now.timestamp())

    @property
    def most_multiplier(self) -> int:
        """The multiplier that the account and its settings allow."""
        return min(self.multiplier, int(self.configuration.max_margin_multiplier))

    def check_blocks(self) -> None:
        """ApiError 403 when the venue has blocked the account."""
        if self.trading_blocked or self.account_blocked:
            raise forbidden("trading is blocked for this account")

    def configure(self, configuration: Configuration) -> None:
        """Put other settings in force."""
        self.configuration = configuration

    def instrument(self, symbol: str) -> Instrument:
        """How `symbol` is traded here: on Alpaca's ticks, in parts of a share."""
        found = self._instruments.get(symbol)
        if found is None:
            found = self._instruments[symbol] = Instrument(symbol=symbol, quantity_step=NINE_PLACES)
        return found

    # -- worth -------------------------------------------------------------------------------------------------------

    def price(self, symbol: str, at: int | None = None) -> Decimal | None:
        """Newest trade price of `symbol`, in shares as they are split by then; None before its first."""
        at = self.second if at is None else at
        if at != self._priced_at:
            self._prices, self._priced_at = {}, at
        if symbol not in self._prices:
            self._prices[symbol] = self._price(symbol, at)
        return self._prices[symbol]

    def ask(self, symbol: str) -> Decimal | None:
        """What is asked for `symbol` now, in shares as they are split by now."""
        price = self.price(symbol)
        if price is None:
            return None
        return Decimal(str(float(bid_and_ask(np.array(float(price)))[1])))

    def equity(self, at: int | None = None) -> Decimal:
        """Cash plus positions at their newest prices."""
        return self.ledger.portfolio.cash + sum((quantity * price for quantity, price in self._holdings(at)), _ZERO)

    def margin(self, at: int | None = None) -> Margin:
        """What the account is worth and may still buy."""
        ledger = self.ledger
        return margin_of(
            cash=ledger.portfolio.cash,
            holdings=self._holdings(at),
            reserved=ledger.reserved_cash,
            multiplier=self.most_multiplier,
        )

    def may_short(self) -> bool:
        """Whether short positions may be opened: in a margin account of enough equity, unless its owner forbids them."""
        return self.margin().multiplier > 1 and not self.configuration.no_shorting

    def power(self, at: int | None = None) -> Decimal:
        """What new positions may still cost; below zero when prices moved against what is open."""
        ledger = self.ledger
        if self.most_multiplier == 1 and all(held.quantity > 0 for held in ledger.portfolio.positions.values()):
            return ledger.portfolio.cash - ledger.reserved_cash  # the same number, without asking for prices
        now = self.margin(at)
        spent = ledger.reserved_cash
        return spendable(cash=now.cash, equity=now.equity, short_value=now.short_value, multiplier=now.multiplier) - spent

    # -- orders ------------------------------------------------------------------------------------------------------

    def end(self, order: SimOrder, status: str, at: datetime) -> None:
        """Let an order end as canceled, expired or rejected, if it is open."""
        if not order.is_open:
            return
        changes = {"status": status, "updated_at": at, "doom": None, _STAMPS[status]: at}
        ended = self.ledger.put(replace(order, **changes))  # type: ignore[arg-type]
        self.ledger.tell(status, ended, at)

    def end_family(self, order: SimOrder, status: str, at: datetime) -> None:
        """Let an order end, and with it the rest of its bracket, OCO or OTO as canceled."""
        for member in self.ledger.family(order):
            self.end(member, status if member.id == order.id else "canceled", at)

    def _holdings(self, at: int | None) -> list[tuple[Decimal, Decimal]]:
        positions = self.ledger.portfolio.positions
        return [(p.quantity, self.price(symbol, at) or p.average_entry_price) for symbol, p in positions.items()]

    def _price(self, symbol: str, at: int) -> Decimal | None:
        market = self.market
        trade = market.last_trade(symbol, at)
        if trade is None:
            return None
        price = Decimal(repr(float(trade.price)))
        for number in range(market.begun(trade.at) + 1, market.begun(at) + 1):
            for action in market.actions(number):
                if action.symbol == symbol and action.kind == "split":
                    price /= action.value
        return self.instrument(symbol).price_nearest(price)
