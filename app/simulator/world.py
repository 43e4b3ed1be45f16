"""One simulated world: a tape, the accounts on it, its state file and the way its clock moves."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Protocol

import structlog

from app.domain.errors import ConfigurationError, InvalidInput
from app.engine.costs import Liquidity
from app.runtime.calendar import new_york_calendar
from app.simulator.account import Account
from app.simulator.errors import UNAUTHORIZED, ApiError
from app.simulator.ledger import Ledger, OrderEvent
from app.simulator.market import Market
from app.simulator.options import SimulatorOptions
from app.simulator.source import open_market
from app.simulator.store import Store

MAXIMUM_SPEED = 1_000_000.0
_log = structlog.get_logger(__name__)


class Listener(Protocol):
    """Who wants to know what happens in the world: the streams. Told after the state file knows it."""

    def on_orders(self, account: Account, events: list[OrderEvent]) -> None:
        """Steps in the lives of an account's orders, in time order."""

    def on_clock(self, before: datetime, now: datetime) -> None:
        """The clock moved; everything complete in before < t <= now may be told."""


class World:
    """What the routes act on. Every change goes through a method here or ends with `save`, which writes the state file."""

    def __init__(self, options: SimulatorOptions) -> None:
        self.options = options
        self.speed = checked_speed(options.speed)
        self.listeners: list[Listener] = []
        self.store = Store(options.state_file)
        facts = self.store.facts()
        start = options.start or (date.fromisoformat(facts["start"]) if facts else None)
        self._secrets: dict[str, str] = {}  # by key id, as digests
        self._told = self._begin(start, options.seed, options.cash)
        identity = self._identity()
        if not facts:
            self.store.begin(identity)
        else:
            self._resume(facts, identity)
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
        """The account of a key, opened with the starting cash when the key is new. 401 when its secret was another before."""
        digest = hashlib.sha256(secret.encode()).hexdigest()
        known = self._secrets.get(key_id)
        if known is None:
            return self._open(key_id, digest)
        if not hmac.compare_digest(known, digest):
            raise ApiError(401, UNAUTHORIZED, "request is not authorized")
        return self.by_key(key_id)

    def by_key(self, key_id: str) -> Account:
        """The account of a key that has been seen; InvalidInput for another."""
        found = self._by_key.get(key_id)
        if found is None:
            raise InvalidInput(f"no account has the key {key_id[:40]}; GET /sim/accounts lists them")
        return found

    def save(self) -> None:
        """Write changes to the state file, then tell the listeners."""
        changes = [(number, account, account.ledger.take_changes()) for number, account in enumerate(self.accounts)]
        self.store.save(
            [(number, change) for number, _, change in changes],
            [(n, self._account_facts(self.accounts[n])) for n in sorted(self._unsaved)],
            self.now,
            self.speed,
        )
        self._unsaved.clear()
        for _, account, change in changes:
            if change.events:
                for listener in self.listeners:
                    listener.on_orders(account, change.events)
        before, self._told = self._told, self.now
        if before != self._told:
            for listener in self.listeners:
                listener.on_clock(before, self._told)

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
        """Simulated seconds per second from now on; 0 stops the clock."""
        self.speed = checked_speed(speed)
        self.save()

    def reset(self, *, start: date | None, seed: int | None, cash: Decimal | None) -> None:
        """Begin a new run, with what is not given as before. Keys keep opening an account, each a fresh one."""
        options = replace(
            self.options,
            start=start or self.started_at.date(),
            seed=self.options.seed if seed is None else seed,
            cash=self.options.cash if cash is None else cash,
        )
        self._secrets.clear()
        self._told = self._begin(options.start, options.seed, options.cash)
        self.options = options
        self.store.begin(self._identity())
        self.save()

    def _advance(self, to: datetime) -> None:
        for account in self.accounts:
            account.advance(to)

    def _begin(self, start: date | None, seed: int, cash: Decimal) -> datetime:
        if not (cash.is_finite() and 0 < cash <= Decimal(10) ** 12):
            raise InvalidInput(f"cash must be above zero and at most 10^12, got {cash}")
        calendar = new_york_calendar()
        market, first = open_market(self.options, calendar, start=start, seed=seed)
        self.market: Market = market
        self.started_at = calendar.between(first, first)[0].opens_at
        self.accounts: list[Account] = [self._new_account("", seed, cash, self.started_at)]
        self._by_key: dict[str, Account] = {}
        self._unsaved = {0}
        return self.started_at

    def _new_account(self, name: str, seed: int, cash: Decimal, now: datetime) -> Account:
        ledger = Ledger(seed=seed, cash=cash, name=name)
        options = self.options
        return Account(
            market=self.market,
            ledger=ledger,
            costs=options.costs,
            now=now,
            key_id=name,
            multiplier=options.multiplier,
            cancel_seconds=options.cancel_seconds,
            liquidity=Liquidity(
                participation=options.participation, partial_probability=options.partial_probability, seed=seed
            ),
        )

    def _open(self, key_id: str, digest: str) -> Account:
        if self._secrets:
            self.accounts.append(self._new_account(key_id, self.market.seed, self.options.cash, self.now))
        account = self.accounts[-1]
        account.key_id = key_id
        self._secrets[key_id], self._by_key[key_id] = digest, account
        self._unsaved.add(len(self.accounts) - 1)
        self.save()
        return account

    def _account_facts(self, account: Account) -> dict[str, str]:
        return {
            "key_id": account.key_id,
            "secret_digest": self._secrets.get(account.key_id, ""),
            "opened_at": account.opened_at.isoformat(),
            "cash": str(account.ledger.start_cash),
        }

    def _identity(self) -> dict[str, str]:
        ledger, market, options = self.first.ledger, self.market, self.options
        terms = (options.multiplier, options.cancel_seconds, options.participation, options.partial_probability)
        return {
            "start": self.started_at.date().isoformat(),
            "seed": str(market.seed),
            "data": market.source.fingerprint,
            "cash": str(ledger.start_cash),
            "costs": json.dumps(asdict(options.costs), default=str, sort_keys=True),
            "order terms": json.dumps(terms, default=str),
        }

    def _resume(self, facts: Mapping[str, str], identity: Mapping[str, str]) -> None:
        differing = [name for name, value in identity.items() if facts.get(name) != value]
        if differing:
            raise ConfigurationError(
                f"the state file {self.options.state_file} belongs to another run (different {', '.join(differing)}); "
                "start with the options of that run, name another file, or remove this one"
            )
        clock = datetime.fromisoformat(facts["clock"])
        for number, saved in enumerate(self.store.accounts()):
            key_id = saved["key_id"]
            if number:
                self.accounts.append(self._new_account(key_id, self.market.seed, Decimal(saved["cash"]), clock))
            account = self.accounts[number]
            account.key_id, account.opened_at = key_id, datetime.fromisoformat(saved["opened_at"])
            if key_id:
                self._secrets[key_id], self._by_key[key_id] = saved["secret_digest"], account
            self.store.load(number, account.ledger)
            account.now = clock
        self._told = clock
        _log.info("run resumed", clock=facts["clock"], orders=sum(len(a.ledger.orders) for a in self.accounts))


def checked_speed(speed: float) -> float:
    """`speed` when a clock can run at it; InvalidInput otherwise."""
    if not 0 <= speed <= MAXIMUM_SPEED:
        raise InvalidInput(f"speed must be between 0 and {MAXIMUM_SPEED:.0f} simulated seconds per second")
    return float(speed)
