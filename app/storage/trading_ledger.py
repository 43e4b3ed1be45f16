"""The order path of the ledger: cycles, decisions, orders, executions, money, risk. Each method is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection

from app.domain.activity import Activities, Activity
from app.domain.exits import PositionPlan
from app.domain.order import Fill, Side, ValidatedOrder, VenueOrder
from app.domain.order_state import OrderEvent
from app.domain.portfolio import Portfolio, Position
from app.domain.ports import Account, Clock
from app.domain.records import (
    AccountRecord,
    ClaimOutcome,
    Committed,
    CycleRecord,
    DecisionRecord,
    EntryOrder,
    EquityPoint,
    FillRecord,
    IntentRecord,
    ReconciliationRecord,
    RiskEvent,
)
from app.domain.trading_state import RiskState
from app.engine.decision import Decision
from app.risk.reservations import Capacity
from app.runtime.failpoint import reach
from app.storage import (
    cash_entries,
    cycles,
    decisions,
    fills,
    intents,
    order_reports,
    portfolio,
    position_plans,
    reconciliations,
    reservations,
    risk_states,
)
from app.storage.answer_spool import Answer, AnswerSpool
from app.storage.audit import Journal
from app.storage.audit_anchor import Anchor
from app.storage.database import Database, StorageUnavailable

_log = structlog.get_logger()


class TradingLedger:
    """What trading depends on. Every write is durable when its method returns.

    spool: a directory for answers that the database does not take at the moment; beside the file of a SQLite database
    unless given.
    journal: how the audit log is written; its anchor is beside the file of a SQLite database unless given.
    clock: wall time, for the notes of when something was booked; whatever trading depends on is passed in.
    Unknown ids raise NotFound, forbidden changes Conflict, trouble with the database itself StorageUnavailable.
    """

    def __init__(self, database: Database, clock: Clock, *, spool: Path | None = None, journal: Journal | None = None) -> None:
        self._db = database
        self._clock = clock
        database.journal = journal or Journal(clock=clock, anchor=_beside(database))
        place = spool or (database.file and database.file.with_name(f"{database.file.name}.answers"))
        self._spool = AnswerSpool(place) if place else None

    def claim_cycle(
        self,
        cycle_id: str,
        *,
        slot: datetime,
        started_at: datetime,
        owner: str,
        trigger: str,
        is_alive: Callable[[str], bool],
        stale_after_seconds: float = 120.0,
    ) -> ClaimOutcome:
        """Takes the right to run a cycle. slot: venue time; started_at: wall time, compared with the start of whatever
        runs. is_alive: whether an owner still lives; called inside the transaction, so it must be quick.

        A running cycle of a living owner, younger than `stale_after_seconds`, keeps everyone else out. One whose owner
        is gone or too slow is abandoned in the same transaction: its READY intents expire, so that a paused worker
        that wakes up can send nothing. An abandoned cycle is never run again."""
        return self._db.write(
            lambda c: cycles.claim(
                c,
                cycle_id,
                slot=slot,
                started_at=started_at,
                owner=owner,
                trigger=trigger,
                is_alive=is_alive,
                stale_after_seconds=stale_after_seconds,
            )
        )

    def record_decision(
        self, cycle_id: str, decision: Decision, *, inputs: Mapping[str, Any], capacity: Capacity, orders_expire_at: datetime
    ) -> Committed:
        """One transaction: the record of every symbol, READY intents in the order of the decision, the risk state if
        it changed, alerts, and what the decision saw. Conflict unless the cycle is running and has not decided yet, or
        if the decision was made under a risk state that no longer holds; nothing is written then.

        Orders that the limits leave no room for by now, all other orders on their way counted, are kept as rejected."""
        committed = self._db.write(
            lambda c: decisions.record(
                c, cycle_id, decision, inputs=inputs, capacity=capacity, orders_expire_at=orders_expire_at
            )
        )
        if decision.orders:
            reach("after_intent")
        return committed

    def commit_orders(
        self,
        orders: Sequence[ValidatedOrder],
        *,
        source: str,
        capacity: Capacity,
        expires_at: datetime,
        at: datetime,
        releasing: Collection[str] = (),
    ) -> Committed:
        """READY intents for orders that no cycle made, within the limits as in `record_decision`. source: who asked for them
        (exit, manual, ...). An id that is known already is kept as it stands, so asking twice has one effect.
        expires_at, at: venue time. releasing: ids of sells that are cancelled before any of these is sent."""
        committed = self._db.write(
            lambda c: reservations.commit(
                c, orders, capacity, releasing=releasing, cycle_id=None, source=source, expires_at=expires_at, at=at
            )
        )
        if orders:
            reach("after_intent")
        return committed

    def finish_cycle(
        self,
        cycle_id: str,
        *,
        outcome: str,
        detail: str,
        finished_at: datetime,
        timings: Mapping[str, float],
        equity: EquityPoint | None,
    ) -> None:
        """Closes a running cycle (else Conflict) and adds its point to the equity curve. What it left READY expires."""
        self._db.write(
            lambda c: cycles.finish(
                c, cycle_id, outcome=outcome, detail=detail, finished_at=finished_at, timings=timings, equity=equity
            )
        )

    def cycles(self, limit: int = 50) -> list[CycleRecord]:
        """The last started first, without inputs."""
        return self._db.read(lambda c: cycles.listing(c, limit))

    def cycle(self, cycle_id: str) -> CycleRecord:
        """One cycle with the inputs of its decision."""
        return self._db.read(lambda c: cycles.one(c, cycle_id))

    def latest_cycle(self) -> CycleRecord | None:
        """The last started."""
        return next(iter(self.cycles(1)), None)

    def newest_slot_done(self) -> datetime | None:
        """Slot of the newest cycle that did its work or found the venue closed; None before the first."""
        return self._db.read(cycles.newest_slot_done)

    def decisions(
        self, symbol: str | None = None, cycle_id: str | None = None, limit: int = 100, before: datetime | None = None
    ) -> list[DecisionRecord]:
        """Newest first; `before`: decided earlier than that."""
        return self._db.read(lambda c: decisions.listing(c, symbol=symbol, cycle_id=cycle_id, limit=limit, before=before))

    def equity_curve(self, since: datetime | None = None, limit: int | None = None) -> list[EquityPoint]:
        """Oldest first; at most the newest `limit` points."""
        return self._db.read(lambda c: cycles.equity_curve(c, since=since, limit=limit))

    # --- orders

    def claim_intent(self, client_order_id: str, *, cycle_id: str | None, now: datetime) -> int | None:
        """READY -> SENT for exactly one caller, only while the intent's own cycle (None: it has none) is running and before
        it expires: the number of the claim. now: the clock of `orders_expire_at`. None: it may not be sent.
        A sale of units that are gone, or that another order still holds, and an entry that the trading state forbids are
        not given out either."""
        return self._db.write(lambda c: reservations.claim(c, client_order_id, cycle_id=cycle_id, now=now))

    def holds_claim(self, client_order_id: str, *, fence: int, now: datetime) -> bool:
        """Whether the claim with this number still stands; to be asked immediately before the order is sent, once."""
        return self._db.read(lambda c: intents.holds_claim(c, client_order_id, fence=fence, now=now))

    def settle_intent(
        self, client_order_id: str, event: OrderEvent, *, venue_order: VenueOrder | None = None, error: str | None = None
    ) -> IntentRecord:
        """Moves an intent by what became known; the legs of a report are adopted with it. News that it has outrun (an
        acceptance after the fill) changes nothing, and neither does a conclusion of ours against an order seen at the
        venue; what the table of `app.domain.order_state` has no row for is a Conflict."""
        return self._db.write(
            lambda c: order_reports.settle(
                c, client_order_id, event, venue_order=venue_order, error=error, at=self._clock.now()
            )
        )

    def keep_answer(
        self, client_order_id: str, event: OrderEvent, *, venue_order: VenueOrder | None = None, error: str | None = None
    ) -> None:
        """`settle_intent` for the answer to an order, which cannot be asked for twice: while the database does not take it,
        it is kept in a file beside it, until `read_back_answers`."""
        answer = Answer(client_order_id=client_order_id, event=event, venue_order=venue_order, error=error)
        reach("before_store")
        try:
            self._settle_answer(answer)
            reach("after_store")
        except StorageUnavailable as fault:
            _log.error("answer_not_stored", client_order_id=client_order_id, error=fault.message)
            if self._spool is None:
                raise
            self._spool.keep(answer)

    def read_back_answers(self) -> int:
        """Books the answers kept in files; how many. Called before anything is compared with the venue."""
        return self._spool.read_back(self._settle_answer) if self._spool is not None else 0

    def _settle_answer(self, answer: Answer) -> None:
        self.settle_intent(answer.client_order_id, answer.event, venue_order=answer.venue_order, error=answer.error)

    def miss_intent(self, client_order_id: str, *, now: datetime, grace: timedelta | None) -> bool:
        """The venue was asked at its time `now` and does not know an order whose answer was lost. True once that has been so
        for `grace`: it was never received, and has expired. grace None: it is only noted."""
        return self._db.write(lambda c: order_reports.miss(c, client_order_id, now=now, grace=grace, at=self._clock.now()))

    def note_pending(self, client_order_ids: Collection[str], *, now: datetime, patience: timedelta) -> list[str]:
        """The orders (all of them) that the venue has yet to act upon at its time `now`. Tells people once of each that has
        been so for longer than `patience`; those newly told."""
        return self._db.write(
            lambda c: order_reports.note_pending(c, client_order_ids, now=now, patience=patience, at=self._clock.now())
        )

    def adopt_order(self, venue_order: VenueOrder) -> IntentRecord:
        """Takes in an order as the venue reports it: ours (brought up to date), a bracket's leg (linked to its entry), the
        successor of one whose terms were changed, or one that a person placed at the venue."""
        return self._db.write(lambda c: order_reports.adopt(c, venue_order, at=self._clock.now()))

    def adopt_known_order(self, venue_order: VenueOrder) -> bool:
        """`adopt_order`, but for orders that we know already; whether it was one."""
        return self._db.write(lambda c: order_reports.adopt_known(c, venue_order, at=self._clock.now()))

    def restate_order(self, venue_order: VenueOrder) -> None:
        """Takes over quantity and prices of an order whose terms the venue itself has changed, as just listed there."""
        self._db.write(lambda c: order_reports.restate(c, venue_order, at=self._clock.now()))

    def expire_ready_intents(self, *, before_cycle: str) -> list[str]:
        """Expires what any other cycle left READY; the ids."""
        return self._db.write(lambda c: intents.expire_ready(c, but_cycle=before_cycle, at=self._clock.now()))

    def expire_stale_intents(self, now: datetime) -> list[str]:
        """Expires what was not sent in its time, whoever asked for it; the ids. now: venue time."""
        return self._db.write(lambda c: intents.expire_stale(c, now=now, at=self._clock.now()))

    def expire_unsent(self, client_order_ids: Collection[str]) -> list[str]:
        """Expires those of these orders that nobody has claimed; their ids."""
        return self._db.write(lambda c: intents.expire_unsent(c, client_order_ids, at=self._clock.now()))

    def unsettled_intents(self) -> list[IntentRecord]:
        """READY, SENT, UNKNOWN, OPEN or PARTIALLY_FILLED, in the order they were decided."""
        return self._db.read(intents.unsettled)

    def intent(self, client_order_id: str) -> IntentRecord:
        """One order by our id."""
        return self._db.read(lambda c: intents.one(c, client_order_id))

    def orders(self, limit: int = 100, symbol: str | None = None, cycle_id: str | None = None) -> list[IntentRecord]:
        """Newest first."""
        return self._db.read(lambda c: intents.listing(c, limit=limit, symbol=symbol, cycle_id=cycle_id))

    # --- money

    def open_account(self, account_id: str, cash: Decimal, at: datetime) -> bool:
        """Starts the books with the venue's cash at venue time `at`; fills before that are kept as history but move
        nothing. False if open already; Conflict for another account."""
        return self._db.write(lambda c: portfolio.open_account(c, account_id, cash, at))

    def open_books(
        self,
        account: Account,
        held: Collection[Position],
        *,
        orders: Sequence[VenueOrder],
        history: Activities,
        had_past: bool,
        at: datetime,
    ) -> bool:
        """`open_account` with everything the venue shows at its time `at`, whole or not at all. orders: what rests there, each
        after its parent. history: what has happened to them, and the entries that the cash contains already. False if open
        already."""

        def work(connection: Connection) -> bool:
            if not portfolio.open_account(connection, account.account_id, account.cash, at, had_past=had_past):
                return False
            portfolio.adopt(connection, held, at)
            cash_entries.keep_as_opening(connection, history.entries, at=self._clock.now())
            for order in orders:
                order_reports.adopt(connection, order, at=self._clock.now())
            fills.book(connection, [fill for fill in history.fills if fill.filled_at < at], at=self._clock.now())
            return True

        return self._db.write(work)

    def book_activities(self, entries: Sequence[Activity]) -> list[Activity]:
        """Books entries not seen before in one transaction, with cash, positions, what transfers move of the risk state, and a
        message each, and returns them. Conflict before `open_account`."""
        return self._db.write(lambda c: cash_entries.book(c, entries, at=self._clock.now()))

    def activities(self, since: datetime) -> Sequence[Activity]:
        """What moved money or shares besides executions, dated at or after `since`, oldest first; the opening's too."""
        return self._db.read(lambda c: cash_entries.listing(c, since))

    def unbooked(self, statement: Activities) -> Activities:
        """What of an account statement is not booked."""
        return self._db.read(
            lambda c: Activities(
                fills=tuple(fills.unknown(c, statement.fills)), entries=tuple(cash_entries.unknown(c, statement.entries))
            )
        )

    def fills_since(self, at: datetime) -> list[Fill]:
        """Executions at or after `at`, oldest first."""
        return self._db.read(lambda c: fills.since(c, at))

    def record_reconciliation(
        self,
        *,
        at: datetime,
        trigger: str,
        fills: int,
        adopted: reconciliations.Rows,
        explained: reconciliations.Rows,
        unexplained: reconciliations.Rows,
    ) -> bool:
        """Writes down how a comparison with the venue ended; whether what is unexplained is new. at: venue time."""
        rows = {"adopted": adopted, "explained": explained, "unexplained": unexplained}
        return self._db.write(
            lambda c: reconciliations.add(c, at=at, recorded_at=self._clock.now(), trigger=trigger, fills=fills, **rows)
        )

    def reconciliations(self, limit: int = 50) -> list[ReconciliationRecord]:
        """Newest first."""
        return self._db.read(lambda c: reconciliations.listing(c, limit))

    def account(self) -> AccountRecord | None:
        """The account kept here, None before it is opened."""
        return self._db.read(portfolio.account)

    def adopt_positions(self, positions: Iterable[Position], at: datetime) -> None:
        """Sets holdings as the venue showed them at venue time `at` (quantity 0 removes one); cash stays."""
        held = list(positions)
        self._db.write(lambda c: portfolio.adopt(c, held, at))

    def book_fills(self, new: Sequence[Fill], *, listed_at: datetime | None = None) -> list[Fill]:
        """Books executions not seen before, with their orders, cash, positions and a message each, and returns them.
        Repeats are ignored; the result does not depend on the order of reports. Conflict before `open_account`.
        listed_at: venue time at which these were all there were since `fills_listed_at`; None for single reports."""

        def work(connection: Connection) -> list[Fill]:
            booked = fills.book(connection, new, at=self._clock.now())
            if listed_at is not None:
                portfolio.note_listing(connection, listed_at)
            return booked

        booked = self._db.write(work)
        if booked:
            reach("after_fill_booking")
        return booked

    def fills_listed_at(self) -> datetime | None:
        """Venue time by which every execution was asked for. What a stream tells says nothing about those before it."""
        return self._db.read(portfolio.fills_listed_at)

    def portfolio(self) -> Portfolio:
        """Cash and positions by all booked fills. Conflict before `open_account`."""
        return self._db.read(portfolio.load)

    def position_plans(self) -> dict[str, PositionPlan]:
        """How each holding is going to be left, by symbol, as the last decision planned it and with the partial exits filled
        since. A holding that no decision has seen yet has none."""
        return self._db.read(position_plans.load)

    def fills(self, limit: int = 100, symbol: str | None = None) -> list[FillRecord]:
        """Newest first."""
        return self._db.read(lambda c: fills.listing(c, limit=limit, symbol=symbol))

    def unknown_orders_filled(self, since: datetime) -> dict[str, datetime]:
        """Venue ids of orders we do not know that had executions at or after `since`, each with the time of the first."""
        return self._db.read(lambda c: fills.of_unknown_orders(c, since))

    def entries_and_exits(self, since: datetime) -> tuple[dict[str, int], dict[str, int]]:
        """Per symbol: how many entry, and how many exit orders (legs too) had an execution at or after `since`."""
        return self._db.read(lambda c: fills.orders_filled(c, since))

    def last_entries(self, symbols: Collection[str]) -> list[EntryOrder]:
        """The entry of each symbol, decided by a cycle, that had the last execution; none for those never entered."""
        return self._db.read(lambda c: fills.last_entries(c, symbols)) if symbols else []

    def filled_value(self, since: datetime) -> dict[Side, Decimal]:
        """Value of the executions at or after `since` by side; a side without any is absent."""
        return self._db.read(lambda c: fills.value_since(c, since))

    # --- risk

    def risk_state(self) -> RiskState | None:
        """The state in force, None before the first."""
        return self._db.read(risk_states.current)

    def save_risk_state(
        self,
        state: RiskState,
        *,
        at: datetime | None = None,
        cause: str | None = None,
        actor: str | None = None,
        detail: str = "",
        based_on_epoch: int | None = None,
    ) -> None:
        """Puts a state in force. Conflict unless its epoch grew and `based_on_epoch`, if given, is the one in force.
        at, cause, actor: of the history's entry; by default the state's own."""
        when, why, who = at or state.since, cause or state.cause, actor or state.actor
        self._db.write(
            lambda c: risk_states.save(c, state, at=when, cause=why, actor=who, detail=detail, based_on_epoch=based_on_epoch)
        )
        reach("after_risk_save")

    def risk_events(self, limit: int = 100) -> list[RiskEvent]:
        """Changes of the risk state, newest first."""
        return self._db.read(lambda c: risk_states.history(c, limit))


def _beside(database: Database) -> Anchor | None:
    return Anchor(database.file.with_name(f"{database.file.name}.audit-head")) if database.file else None
