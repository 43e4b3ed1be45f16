"""Make our books equal to the venue's: the same function at start, after a crash, in every cycle and at night.

What the venue explains is adopted: fills, order states, orders of a person, and the entries of its account statement. What
nothing explains is reported as a difference and keeps the decision from taking on risk. No answer, empty or short, is ever
adopted for itself: a holding changes by an execution or an entry with an id, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

import structlog

from app.domain.activity import Activities, Activity
from app.domain.errors import TryAgain
from app.domain.order import Fill, VenueOrder, is_own_id
from app.domain.portfolio import Portfolio, Position
from app.domain.ports import Account
from app.domain.records import IntentRecord
from app.engine.reconcile import Difference, adjustments, after, certain, compare, compare_fills, table
from app.runtime import metrics
from app.services.alpaca_service import AlpacaService
from app.services.database_service import DatabaseService
from app.services.trading.order_adoption import ATTRIBUTION_PERIOD, Adopted, OrderAdopter, strangers
from app.services.trading.order_lookup import is_in_flight

log = structlog.get_logger()

# Venues list executions late and out of order: each listing reaches back before the last one, and further where the books
# differ. Entries are dated by their day.
FILL_OVERLAP = timedelta(minutes=10)
SEARCH = timedelta(days=3)
NIGHTLY_SEARCH = timedelta(days=4)
OPENING_STATEMENT = timedelta(days=14)  # beyond what any later search reaches back before the opening
ORDER_HISTORY = timedelta(days=91)  # the longest life of an order at the venue
OPENING_READINGS = 3
LONGEST_WEEKEND = timedelta(days=7)


class Trigger(StrEnum):
    """Why the books are compared. nightly reads the statement of several days whether or not anything differs."""

    CYCLE = "cycle"
    MANUAL = "manual"
    NIGHTLY = "nightly"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """The state of both books after comparing.

    account: as the venue tells it, its last close adjusted for transfers since. fills: newly booked. adopted: found at the
    venue and taken over. explained: entries newly booked. unexplained: empty when the books agree. had_past: our books had
    just begun and the venue had a past, so that a person must look. sellable: our books as far as the venue confirms them.
    """

    account: Account
    portfolio: Portfolio
    sellable: Portfolio
    fills: int = 0
    adopted: tuple[Adopted, ...] = ()
    explained: tuple[Activity, ...] = ()
    unexplained: tuple[Difference, ...] = ()
    had_past: bool = False

    @property
    def differences(self) -> tuple[str, ...]:
        """What is unexplained, as sentences."""
        return tuple(str(one) for one in self.unexplained)


@dataclass(slots=True)
class _Findings:
    fills: int = 0
    adopted: list[Adopted] = field(default_factory=list)
    explained: list[Activity] = field(default_factory=list)


class Reconciler:
    """Brings the database up to the venue's truth."""

    def __init__(
        self,
        *,
        venue: AlpacaService,
        database: DatabaseService,
        is_lost: Callable[[IntentRecord], bool] = is_in_flight,
    ) -> None:
        """is_lost: see `OrderAdopter`; who compares beside a living sender must not take its orders for lost."""
        self._venue = venue
        self._database = database
        self._orders = OrderAdopter(venue=venue, database=database, is_lost=is_lost)

    def reconcile(self, now: datetime, trigger: Trigger = Trigger.CYCLE) -> Reconciled:
        """Adopt what the venue knows, then compare. now: venue time. Raises VenueError when it cannot be asked, and
        ConfigurationError when it answers for another account."""
        found = _Findings()
        if self._database.account() is None:
            found.adopted += self._open_books(now)
        begun = self._fills_since() - ATTRIBUTION_PERIOD
        account, held = self._venue.account(), self._venue.positions()
        unexplained = self._adopt(found, account, held, now, trigger)
        if unexplained:  # something may have come between the readings: look once more before raising an alarm
            account, held = self._venue.account(), self._venue.positions()
            found.adopted += self._orders.adopt(now)
            unexplained = self._read_statement(found, held, now, trigger) + self._compare(account, held)
        found.adopted += self._orders.attribute(max(begun, self._opened_at()))
        self._venue.books_compared()
        portfolio = self._database.portfolio()
        books = Reconciled(
            account=self._adjusted(account, now),
            portfolio=portfolio,
            sellable=certain(portfolio, held) if unexplained else portfolio,
            fills=found.fills,
            adopted=tuple(found.adopted),
            explained=tuple(found.explained),
            unexplained=unexplained,
            had_past=self._begins_with_a_past(),
        )
        self._record(books, now, trigger)
        return books

    def _adopt(
        self, found: _Findings, account: Account, held: Mapping[str, Position], now: datetime, trigger: Trigger
    ) -> tuple[Difference, ...]:
        """The first look: orders and the newest executions; the statement where that does not suffice, or at night."""
        found.adopted += self._orders.adopt(now)
        found.fills += self._book(self._venue.fills(self._fills_since()), now)
        unexplained = self._compare(account, held)
        if not unexplained and trigger is Trigger.CYCLE:
            return ()
        return self._read_statement(found, held, now, trigger) + self._compare(account, held)

    def accept(self, now: datetime, *, actor: str, reason: str) -> Reconciled:
        """Compare, and book on a person's word what nothing explains as it stands at the venue. Raises TryAgain where it does
        not say the same thing twice."""
        books = self.reconcile(now, Trigger.MANUAL)
        if not books.unexplained:
            return books
        account, held = self._venue.account(), self._venue.positions()
        differing = self._compare(account, held)
        if not set(differing) <= set(books.unexplained):
            raise TryAgain("the venue's answers change from one to the next; nothing was accepted, try again in a minute")
        why = f"accepted by {actor}: {reason}"
        self._database.book_activities(adjustments(self._database.portfolio(), account, held, at=now, why=why))
        return self.reconcile(now, Trigger.MANUAL)

    def preview(self, now: datetime) -> Reconciled:
        """What `reconcile` would find, without writing anything."""
        account, held, resting = self._venue.account(), self._venue.positions(), self._venue.open_orders()
        opened = self._database.account()
        if opened is None:
            found = [Adopted(subject=symbol, why=f"{one.quantity.normalize():f} units held") for symbol, one in held.items()]
            found += [Adopted(subject=one.client_order_id, why="an order found at the venue") for one in resting]
            empty = Portfolio(cash=account.cash, positions=held)
            return Reconciled(account=account, portfolio=empty, sellable=empty, adopted=tuple(found), had_past=bool(found))
        statement = self._database.unbooked(self._statement(held, now, Trigger.MANUAL))
        portfolio = after(self._database.portfolio(), statement)
        unknown = strangers(self._database.unsettled_intents(), resting)
        return Reconciled(
            account=account,
            portfolio=portfolio,
            sellable=portfolio,
            fills=len(statement.fills),
            adopted=tuple(Adopted(subject=one.client_order_id, why="an order found at the venue") for one in unknown),
            explained=statement.entries,
            unexplained=compare(portfolio, account, held),
        )

    # -- the beginning -------------------------------------------------------------------------------------------------
    def _open_books(self, now: datetime) -> list[Adopted]:
        """The first meeting with this account: cash, holdings and resting orders are where our books begin, in one transaction.
        Readings between which something happened are taken again."""
        for _ in range(OPENING_READINGS):
            account, held = self._venue.account(), self._venue.positions()
            history = self._venue.order_history(now - ORDER_HISTORY)
            resting = _with_parents(history)
            since = min([now - OPENING_STATEMENT, *(order.submitted_at for order in resting)])
            statement = self._venue.activities(since)
            again = self._venue.account()
            if (again.cash, self._venue.positions()) == (account.cash, held):
                break
        else:
            raise TryAgain("the account changes faster than it can be read; its books are opened at the next attempt")
        had_past = bool(held or resting or any(is_own_id(order.client_order_id) for order in history))
        last = max((fill.filled_at for fill in statement.fills), default=now)
        self._database.open_books(
            account,
            list(held.values()),
            orders=resting,
            history=statement,
            had_past=had_past,
            at=now if last < now else last + timedelta(microseconds=1),
        )
        found = [Adopted(subject=symbol, why=f"{one.quantity.normalize():f} units held before") for symbol, one in held.items()]
        return found + [Adopted(subject=one.client_order_id, why="an order that rested before") for one in resting]

    def _begins_with_a_past(self) -> bool:
        """Until the risk state says so too: a crash in between must not lose it."""
        opened = self._database.account()
        return opened is not None and opened.had_past and self._database.risk_state() is None

    # -- fills and entries ---------------------------------------------------------------------------------------------
    def _book(self, fills: list[Fill], now: datetime) -> int:
        booked = self._database.book_fills(fills, listed_at=now)
        for fill in booked:
            metrics.observe_fill(fill.side, fill.quantity * fill.price)
        return len(booked)

    def _read_statement(
        self, found: _Findings, held: Mapping[str, Position], now: datetime, trigger: Trigger
    ) -> tuple[Difference, ...]:
        """Books what the account statement knows; the executions that the two books tell differently."""
        statement = self._statement(held, now, trigger)
        found.fills += self._book(list(statement.fills), now)
        found.explained += self._database.book_activities(statement.entries)
        if trigger is Trigger.CYCLE:
            return ()
        ours = self._database.fills_since(max(now - NIGHTLY_SEARCH, self._opened_at()))
        return compare_fills(ours, statement.fills)

    def _statement(self, held: Mapping[str, Position], now: datetime, trigger: Trigger) -> Activities:
        opened_at = self._opened_at()
        since = (self._database.fills_listed_at() or opened_at) - SEARCH
        if trigger is not Trigger.CYCLE:
            since = min(since, now - NIGHTLY_SEARCH)
        told = self._venue.activities(since)
        return Activities(
            fills=tuple(fill for fill in told.fills if fill.filled_at >= opened_at),
            entries=tuple(_priced(entry, held) for entry in told.entries),
        )

    def _opened_at(self) -> datetime:
        opened = self._database.account()
        if opened is None:
            raise RuntimeError("statements are read only after the books are opened")
        return opened.opened_at

    def _fills_since(self) -> datetime:
        listed_at, opened_at = self._database.fills_listed_at(), self._opened_at()
        return opened_at if listed_at is None else max(opened_at, listed_at - FILL_OVERLAP)

    # -- the comparison ------------------------------------------------------------------------------------------------
    def _compare(self, account: Account, held: Mapping[str, Position]) -> tuple[Difference, ...]:
        return compare(self._database.portfolio(), account, held)

    def _adjusted(self, account: Account, now: datetime) -> Account:
        """The equity of the last close and what was transferred since: what today's gain or loss is measured against."""
        recent = [entry for entry in self._database.activities(now - LONGEST_WEEKEND) if entry.moved]
        if not recent:
            return account
        closed = self._venue.calendar().previous_close(now)
        moved = sum((entry.moved for entry in recent if entry.at >= closed), Decimal(0))
        return replace(account, previous_close_equity=account.previous_close_equity + moved)

    def _record(self, books: Reconciled, now: datetime, trigger: Trigger) -> None:
        is_new = self._database.record_reconciliation(
            at=now,
            trigger=trigger.value,
            fills=books.fills,
            adopted=[one.row() for one in books.adopted],
            explained=[{"activity_id": one.activity_id, "what": str(one)} for one in books.explained],
            unexplained=[one.row() for one in books.unexplained],
        )
        if books.unexplained:
            log.warning("books_differ", differences=books.differences)
            if is_new:
                self._database.enqueue_alert("reconcile", f"Books differ:\n{table(books.unexplained)}")
        elif is_new:
            self._database.enqueue_alert("reconcile", "Our books and the venue's agree again")


def _with_parents(history: list[VenueOrder]) -> list[VenueOrder]:
    """What rests at the venue, and the orders it hangs on, parents first."""
    resting = [order for order in history if order.is_open]
    parents = {order.parent_order_id for order in resting}
    kept = [order for order in history if order.is_open or order.venue_order_id in parents]
    return sorted(kept, key=lambda order: (order.parent_order_id is not None, order.submitted_at))


def _priced(entry: Activity, held: Mapping[str, Position]) -> Activity:
    """Units that come without a price cost what the venue says they cost."""
    position = held.get(entry.symbol or "")
    if entry.price is not None or not entry.quantity or position is None:
        return entry
    return replace(entry, price=position.average_entry_price)
