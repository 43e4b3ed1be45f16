"""The book as a fold over executions: cash, positions, and what was entered and left during the session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import reduce

from app.domain.exits import PositionPlan, partial_taken
from app.domain.order import Fill, Purpose
from app.domain.portfolio import Portfolio, apply_fill
from app.domain.reason import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """A fill with the order behind it. strategy: on whose budget, "" where one has the whole account."""

    fill: Fill
    client_order_id: str
    purpose: Purpose
    reason: str = ""
    strategy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What we own, by our own account. session: ISO date that `entries` and `exits` count; they hold the ids of the orders
    filled at least in part during it, by symbol."""

    portfolio: Portfolio
    session: str = ""
    entries: Mapping[str, frozenset[str]] = field(default_factory=dict)
    exits: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def entries_today(self) -> dict[str, int]:
        """Entry orders filled at least in part, by symbol."""
        return {symbol: len(ids) for symbol, ids in self.entries.items()}

    @property
    def exits_today(self) -> dict[str, int]:
        """Exit orders, protective legs included, filled at least in part, by symbol."""
        return {symbol: len(ids) for symbol, ids in self.exits.items()}


def opened(cash: Decimal) -> Ledger:
    """A ledger with nothing but cash."""
    return Ledger(portfolio=Portfolio(cash=cash))


def roll(ledger: Ledger, session: str) -> Ledger:
    """The ledger in `session`: counts start afresh on a new one."""
    return ledger if session == ledger.session else replace(ledger, session=session, entries={}, exits={})


def book(ledger: Ledger, executions: Iterable[Execution]) -> Ledger:
    """The ledger after `executions` of its session, in order."""
    return reduce(_book, executions, ledger)


def parts_taken(plans: Mapping[str, PositionPlan], execution: Execution) -> dict[str, PositionPlan]:
    """The plan that an execution of a partial exit changes, by its symbol."""
    symbol = execution.fill.symbol
    if execution.reason != Reason.PARTIAL_PROFIT.code or symbol not in plans:
        return {}
    return {symbol: partial_taken(plans[symbol])}


def _book(ledger: Ledger, execution: Execution) -> Ledger:
    portfolio = apply_fill(ledger.portfolio, execution.fill)
    if execution.purpose is Purpose.ENTRY:
        return replace(ledger, portfolio=portfolio, entries=_counted(ledger.entries, execution))
    return replace(ledger, portfolio=portfolio, exits=_counted(ledger.exits, execution))


def _counted(orders: Mapping[str, frozenset[str]], execution: Execution) -> dict[str, frozenset[str]]:
    symbol = execution.fill.symbol
    return {**orders, symbol: orders.get(symbol, frozenset()) | {execution.client_order_id}}
