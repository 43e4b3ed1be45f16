"""One simulated world: a tape, the accounts on it, its state file and the way its clock moves."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

import structlog

from app.domain.errors import ConfigurationError, Conflict, InvalidInput
from app.engine.costs import Liquidity
from app.runtime.calendar import new_york_calendar
from app.simulator.accounts.account import Account
from app.simulator.accounts.configuration import Configuration
from app.simulator.accounts.ledger import Ledger, OrderEvent
from app.simulator.errors import UNAUTHORIZED, ApiError
from app.simulator.faults.barriers import BarrierBoard
from app.simulator.faults.board import Fault, FaultBoard
from app.simulator.faults.request_log import RequestLog
from app.simulator.options import FOLLOW, SimulatorOptions
from app.simulator.rows import from_row, to_row
from app.simulator.store import SavedAccount, Store
from app.simulator.tape.market import Market
from app.simulator.tape.source import open_market

MAXIMUM_SPEED = 1_000_000.0
_log = structlog.get_logger(__name__)


class Listener(Protocol):
    """Who wants to know what happens in the world: the streams. Told after the state file knows it."""

    def on_orders(self, account: Account, events: list[OrderEvent]) -> None:
        """Steps in the lives of an account's orders, in time order."""

    def on_clock(self, before: datetime, now: datetime) -> None:
        """The clock moved; everything complete in before < t <= now may be told."""


class Hub(Protocol):
    """The streams' connections."""

    def disconnect(self, key_id: str, stream: str) -> object:
        """Close the connections of a key ("" for all) to a stream."""


class World:
    """What the routes act on. Every change goes through a method here or ends with `save`, which writes the state file."""

    def __init__(self, options: SimulatorOptions) -> None:
        self.options = options
        self.speed = checked_speed(options.speed)
        self.listeners: list[Listener] = []
        self.hub: Hub | None = None
        self.faults = FaultBoard()
        self.barriers = BarrierBoard()
        self._told: datetime
        self.store = Store(options.state_file)
        self.requests = RequestLog(self.store.db)
        facts = self.store.facts()
        start = options.start or (date.fromisoformat(facts["start"]) if facts else None)
        self._begin(start, options.seed, options.cash)
        with self.store.transaction():
            if facts:
                self._resume(facts)
            else:
                self.store.begin(self.identity())
            self._let_in_known_keys()
            self.save()

    @property
    def now(self) -> datetime:
        """What the clock shows."""
        return self.first.now

    @property
    def second(self) -> int:
        """The clock in whole seconds since 1970 UTC: what the tape is asked with."""
        return self.first.second

    @property
    def first(self) -> Account:
        """The account that every world begins with: the first key that comes opens it."""
        return self.accounts[0]

    def account(self, key_id: str, secret: str) -> Account:
        """The account of a key. A new key opens one with the starting cash, unless only known keys are let in.

        Raises ApiError 401 for a wrong secret and for a key that is not let in.
        """
        known = self._secrets.get(key_id)
        if known is None and not self.options.keys_required:
            account = self._open(key_id, secret, self.options.cash)
            self.save()
            return account
        if known is None or not hmac.compare_digest(known, _digest(secret)):
            raise ApiError(401, UNAUTHORIZED, "request is not authorized")
        return self._by_key[key_id]

    def known(self, key_id: str) -> Account | None:
        """The account of a key that has been seen, None for another."""
        return self._by_key.get(key_id)

    def by_key(self, key_id: str) -> Account:
        """The account of a key that has been seen; InvalidInput for another."""
        found = self._by_key.get(key_id)
        if found is None:
            raise InvalidInput(f"no account has the key {key_id[:40]}; GET /sim/accounts lists them")
        return found

    def open_account(
        self,
        key_id: str,
        secret: str,
        *,
        cash: Decimal | None = None,
        multiplier: int | None = None,
        trading_blocked: bool = False,
        account_blocked: bool = False,
    ) -> Account:
        """An account for a new key; what is not given is as the options say. Raises Conflict when the key has one.

        multiplier: 1, 2 or 4. The blocks: no order is taken or replaced.
        """
        if key_id in self._secrets:
            raise Conflict(f"the key {key_id[:40]} has an account already")
        account = self._open(key_id, secret, _checked_cash(self.options.cash if cash is None else cash))
        account.multiplier = account.multiplier if multiplier is None else multiplier
        account.trading_blocked, account.account_blocked = trading_blocked, account_blocked
        self.save()
        return account

    def set_fault(self, fault: Fault) -> Fault:
        """Set a fault; a halt and a disconnection take effect at once."""
        if fault.what == "disconnect" and self.hub is None:
            raise Conflict("this exchange serves no streams")
        self.faults.add(fault)
        if fault.what == "halt":
            self.market.halted.add(fault.where.symbol)
            fault.hits()
        elif fault.what == "disconnect" and self.hub is not None:
            self.hub.disconnect(fault.where.key_id, fault.stream)
            fault.hits()
        return fault

    def drop_fault(self, fault: Fault) -> None:
        """Remove a fault; what it held up goes on."""
        self.faults.remove(fault)
        others = self.faults.all()
        if fault.what == "halt" and not any(f.what == "halt" and f.where.symbol == fault.where.symbol for f in others):
            self.market.halted.discard(fault.where.symbol)
        elif fault.what == "stuck_cancel" and not any(f.what == "stuck_cancel" for f in others):
            for account in self.accounts:
                account.release_cancels()
            self.save()

    def save(self) -> None:
        """Write changes to the state file, then tell the listeners."""
        changes = [(number, account, account.ledger.take_changes()) for number, account in enumerate(self.accounts)]
        self.store.save(
            [(number, change) for number, _, change in changes if any(change)],
            self._changed_facts(),
            self.now,
            self.speed,
        )
        for _, account, change in changes:
            if change.events:
                for listener in self.listeners:
                    listener.on_orders(account, change.events)
        before = self._told
        self._told = self.now
        if before != self.now:
            for listener in self.listeners:
                listener.on_clock(before, self.now)

    def move(self, to: datetime) -> None:
        """Move the clock forward to `to`. Raises Conflict for the past, InvalidInput beyond the calendar."""
        self._advance(to)
        self.save()

    def elapse(self, seconds: float) -> None:
        """Let simulated `seconds` pass on a running clock; closed hours are jumped over when the options say so."""
        left, calendar = timedelta(seconds=seconds), self.market.calendar
        while left > timedelta(0):
            to = self.now + left
            if self.options.skip_closed:
                session = calendar.session_at(self.now)
                if session is None:
                    self._advance(calendar.next_open(self.now))
                    continue
                to = min(to, session.closes_at)
            left -= to - self.now
            self._advance(to)
        self.save()

    def set_speed(self, speed: float) -> None:
        """Simulated seconds per second from now on, or FOLLOW; 0 stops the clock."""
        self.speed = checked_speed(speed)
        self.save()

    def reset(self, *, start: date | None, seed: int | None, cash: Decimal | None) -> None:
        """Begin a new run, with what is not given as before: no orders, no faults, an empty request log.

        Keys keep opening an account, each a fresh one.
        """
        options = replace(
            self.options,
            start=start or self.started_at.date(),
            seed=self.options.seed if seed is None else seed,
            cash=self.options.cash if cash is None else cash,
        )
        self._begin(options.start, options.seed, options.cash)
        self.options = options
        for fault in self.faults.all():
            self.faults.remove(fault)
        self.barriers.clear()
        with self.store.transaction():
            self.store.begin(self.identity())
            self.requests.clear()
            self._let_in_known_keys()
            self.save()

    def reset_account(self, key_id: str) -> None:
        """Make one account as it was when it was opened, at the present clock. InvalidInput for an unknown key."""
        old = self.by_key(key_id)
        number = self.accounts.index(old)
        fresh = self._new_account(old.ledger.account_name, old.ledger.start_cash, self.now)
        fresh.key_id, fresh.multiplier = key_id, old.multiplier
        fresh.trading_blocked, fresh.account_blocked = old.trading_blocked, old.account_blocked
        self.accounts[number] = self._by_key[key_id] = fresh
        self._written.pop(number, None)
        with self.store.transaction():
            self.store.forget(number)
            self.save()

    def replace_state(self, saved: list[SavedAccount], clock: datetime, speed: float) -> None:
        """Go back, or on, to a state of this run that was kept."""
        self._adopt(saved, clock)
        self.speed = speed
        with self.store.transaction():
            self.store.begin(self.identity())
            self.save()

    def account_facts(self, account: Account) -> Mapping[str, Any]:
        """What is kept of an account beside its ledger."""
        return {
            "key_id": account.key_id,
            "secret_digest": self._secrets.get(account.key_id, ""),
            "opened_at": account.opened_at.isoformat(),
            "cash": str(account.ledger.start_cash),
            "multiplier": account.multiplier,
            "configuration": to_row(account.configuration),
            "trading_blocked": account.trading_blocked,
            "account_blocked": account.account_blocked,
        }

    def identity(self) -> dict[str, str]:
        """What a saved run must agree with to go on here."""
        market, options = self.market, self.options
        terms = (options.multiplier, options.cancel_seconds, options.participation, options.partial_probability)
        return {
            "start": self.started_at.date().isoformat(),
            "seed": str(market.seed),
            "data": market.source.fingerprint,
            "cash": str(options.cash),
            "costs": json.dumps(asdict(options.costs), default=str, sort_keys=True),
            "order terms": json.dumps(terms, default=str),
        }

    def _advance(self, to: datetime) -> None:
        for account in self.accounts:
            account.advance(to)

    def _begin(self, start: date | None, seed: int, cash: Decimal) -> None:
        _checked_cash(cash)
        calendar = new_york_calendar()
        market, first = open_market(self.options, calendar, start=start, seed=seed)
        self.market: Market = market
        self.started_at: datetime = calendar.between(first, first)[0].opens_at
        self._told = self.started_at
        self._forget_accounts()
        self.accounts.append(self._new_account("", cash, self.started_at))

    def _forget_accounts(self) -> None:
        self.accounts: list[Account] = []
        self._by_key: dict[str, Account] = {}
        self._secrets: dict[str, str] = {}  # by key id, as digests
        self._written: dict[int, Mapping[str, Any]] = {}  # facts by account number, as the state file has them

    def _new_account(self, name: str, cash: Decimal, now: datetime) -> Account:
        options, seed = self.options, self.market.seed
        return Account(
            market=self.market,
            ledger=Ledger(seed=seed, cash=cash, name=name),
            costs=options.costs,
            now=now,
            key_id=name,
            multiplier=options.multiplier,
            cancel_seconds=options.cancel_seconds,
            liquidity=Liquidity(
                participation=options.participation, partial_probability=options.partial_probability, seed=seed
            ),
        )

    def _adopt(self, saved: list[SavedAccount], clock: datetime) -> None:
        """Take over the accounts and the clock of a run on the same tape, in place of everything there is."""
        accounts = [self._kept(number, one, clock) for number, one in enumerate(saved)]
        secrets = {one.facts["key_id"]: str(one.facts["secret_digest"]) for one in saved if one.facts["key_id"]}
        self._forget_accounts()
        self.accounts, self._secrets = accounts, secrets
        self._by_key = {account.key_id: account for account in accounts if account.key_id}
        self._told = clock

    def _kept(self, number: int, saved: SavedAccount, clock: datetime) -> Account:
        facts = saved.facts
        # The first account's ids bear no name: whichever key comes first, a replay names everything alike.
        account = self._new_account(facts["key_id"] if number else "", Decimal(facts["cash"]), clock)
        account.key_id, account.opened_at = facts["key_id"], datetime.fromisoformat(facts["opened_at"])
        account.multiplier, account.configuration = facts["multiplier"], from_row(Configuration, facts["configuration"])
        account.trading_blocked, account.account_blocked = facts["trading_blocked"], facts["account_blocked"]
        saved.restore(account.ledger)
        return account

    def _open(self, key_id: str, secret: str, cash: Decimal) -> Account:
        if self._secrets:
            self.accounts.append(self._new_account(key_id, cash, self.now))
        elif cash != self.first.ledger.start_cash:
            self.accounts[0] = self._new_account("", cash, self.now)
        account = self.accounts[-1]
        account.key_id = key_id
        self._secrets[key_id], self._by_key[key_id] = _digest(secret), account
        return account

    def _let_in_known_keys(self) -> None:
        for key_id, secret in self.options.keys:
            if key_id not in self._secrets:
                self._open(key_id, secret, self.options.cash)

    def _changed_facts(self) -> list[tuple[int, Mapping[str, Any]]]:
        changed = []
        for number, account in enumerate(self.accounts):
            facts = self.account_facts(account)
            if self._written.get(number) != facts:
                self._written[number] = facts
                changed.append((number, facts))
        return changed

    def _resume(self, facts: Mapping[str, str]) -> None:
        differing = [name for name, value in self.identity().items() if facts.get(name) != value]
        if differing:
            raise ConfigurationError(
                f"the state file {self.options.state_file} belongs to another run (different {', '.join(differing)}); "
                "start with the options of that run, name another file, or remove this one"
            )
        clock = datetime.fromisoformat(facts["clock"])
        self._adopt(self.store.accounts(), clock)
        for account in self.accounts:
            account.ledger.take_changes()
            account.release_cancels()  # the fault that stuck them has ended with the process
        _log.info("run resumed", clock=facts["clock"], orders=sum(len(a.ledger.orders) for a in self.accounts))


def checked_speed(speed: float) -> float:
    """`speed` when a clock can run at it; InvalidInput otherwise."""
    if not (0 <= speed <= MAXIMUM_SPEED or speed == FOLLOW):
        raise InvalidInput(f"speed must be between 0 and {MAXIMUM_SPEED:.0f} simulated seconds per second")
    return float(speed)


def _checked_cash(cash: Decimal) -> Decimal:
    if not (cash.is_finite() and 0 < cash <= Decimal(10) ** 12):
        raise InvalidInput(f"cash must be above zero and at most 10^12, got {cash}")
    return cash


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
