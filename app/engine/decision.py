"""What a decision sees, and what it answers. Values only; `app.engine.decide` does the deciding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from app.domain.bar import Floats
from app.domain.exits import PositionPlan, Progress
from app.domain.forecast import Answer
from app.domain.instrument import Instrument
from app.domain.order import Purpose, Side, ValidatedOrder
from app.domain.portfolio import Position
from app.domain.reason import Reason
from app.domain.trading_state import RiskState, VenueHealth
from app.risk.limits import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketView:
    """The market as known at `decided_at`; every array has shape (n_symbols,) in the order of `symbols`.

    price: newest trade, currency. age_seconds: its age. volatility: standard deviation of daily log returns.
    tradable: 1.0 where the venue takes orders now, else 0.0. last_close: the last completed daily close. usual_volatility:
    as volatility, of the sessions before. atr: mean true range of the last completed days, currency. Unknown numbers are NaN,
    never zero; None: unknown for all.
    forecasts: the models' or the strategy's answers behind the numbers, by symbol.
    """

    decided_at: datetime
    symbols: tuple[str, ...]
    price: Floats
    age_seconds: Floats
    volatility: Floats
    tradable: Floats
    forecasts: Mapping[str, Answer]
    last_close: Floats | None = None
    usual_volatility: Floats | None = None
    atr: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrder:
    """An order that may still fill. quantity: units not yet filled. price: the most a buy may pay, None if unbounded.
    protective: a take-profit or stop-loss leg resting at the venue. at_venue: False while its fate is still to be
    looked up. external: placed by a person; counted, never touched. stale: an entry whose slot is over. stop_price: of a
    protective stop."""

    client_order_id: str
    symbol: str
    side: Side
    purpose: Purpose
    quantity: Decimal
    price: Decimal | None
    protective: bool = False
    at_venue: bool = True
    external: bool = False
    stale: bool = False
    stop_price: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """What we own and owe at the decision; money in account currency.

    session: ISO date of the venue's trading day. equity: as reported by the venue; the decision marks the book itself and
    compares. previous_close_equity: the venue's equity at the last session's close, adjusted for deposits and withdrawals.
    entries_today / exits_today: entry and exit orders filled at least in part during the session, by symbol.
    reconciled: False while our books and the venue's differ without explanation; no entries are made then.
    health: how the calls to the venue fared. progress: what is remembered of the holdings, for their exits. owners: the
    strategy that holds or buys a symbol, by symbol; who is not among the sleeves, or unknown, stands for the first.
    """

    session: str
    cash: Decimal
    equity: Decimal
    previous_close_equity: Decimal
    buying_power: Decimal
    positions: Mapping[str, Position]
    open_orders: tuple[OpenOrder, ...]
    risk: RiskState
    entries_today: Mapping[str, int] = field(default_factory=dict)
    exits_today: Mapping[str, int] = field(default_factory=dict)
    reconciled: bool = True
    health: VenueHealth = field(default_factory=VenueHealth)
    progress: Mapping[str, Progress] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleeve:
    """A strategy's part of an account. strategy: its name, part of the ids of its orders. budget_fraction: the most that its
    holdings and open entries may be worth, as a share of the equity; 1.0: no bound of its own. policy: its thresholds and
    exits, whose stop-loss and take-profit are in force."""

    strategy: str
    budget_fraction: float
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Names and trading rules the decision needs to write orders; constant over a run but for `cycle_id`. sleeves: in the order
    in which they are asked; none: `strategy` has the whole account, and the policy given to `decide`."""

    account_id: str
    strategy: str
    cycle_id: str
    instruments: Mapping[str, Instrument]
    sleeves: tuple[Sleeve, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolRecord:
    """Why one symbol was or was not traded. Fractions and currency as in MarketView; NaN where unknown.

    expected_return: a strategy's score stands there as it is. members: the models' forecasts; votes: a strategy's columns.
    sizing: each bound on the quantity in units by its name, and the one that decided. detail: free text for a person.
    strategy: whose word it was, where several share the account.
    """

    symbol: str
    reason: Reason
    price: float
    expected_return: float
    confidence: float
    volatility: float
    members: tuple[float, ...]
    held_quantity: Decimal
    side: Side | None = None
    quantity: Decimal | None = None
    sizing: Mapping[str, float] = field(default_factory=dict)
    sizing_bound: str | None = None
    detail: str = ""
    votes: Mapping[str, float] = field(default_factory=dict)
    strategy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegMove:
    """A protective stop that rests at the venue, by its client order id, and the higher price it is to rest at."""

    client_order_id: str
    symbol: str
    stop_price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer of one decision: client order ids to cancel first, validated orders in the order they should be sent
    (exits first), one record per symbol, and the risk state that holds from now on. alerts: sentences a person must see.
    readings: what the breakers read, by name (see `app.engine.rules.Measures`). moves: stops to move after the orders.
    plans: how each holding is going to be left, by symbol."""

    decided_at: datetime
    cancels: tuple[str, ...]
    orders: tuple[ValidatedOrder, ...]
    records: tuple[SymbolRecord, ...]
    risk: RiskState
    alerts: tuple[str, ...] = ()
    readings: Mapping[str, float] = field(default_factory=dict)
    moves: tuple[LegMove, ...] = ()
    plans: Mapping[str, PositionPlan] = field(default_factory=dict)
