"""One simulated world: a tape, an exchange on it, its state file and the way its clock moves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import structlog

from app.domain.errors import ConfigurationError, InvalidInput
from app.runtime.calendar import new_york_calendar
from app.simulator.exchange import Exchange
from app.simulator.ledger import Ledger
from app.simulator.options import SimulatorOptions
from app.simulator.source import open_market
from app.simulator.store import Store

MAXIMUM_SPEED = 1_000_000.0
_log = structlog.get_logger(__name__)


class World:
    """What the routes act on. Every change goes through a method here, which also writes it to the state file."""

    def __init__(self, options: SimulatorOptions) -> None:
        self.options = options
        self.speed = checked_speed(options.speed)
        self.store = Store(options.state_file)
        facts = self.store.facts()
        start = options.start or (date.fromisoformat(facts["start"]) if facts else None)
        self.exchange, self.started_at = self._build(start, options.seed, options.cash)
        identity = self._identity()
        if not facts:
            self.store.begin(identity)
        else:
            self._resume(facts, identity)
        self.save()

    def save(self) -> None:
        """Write changes to the state file."""
        self.store.save(self.exchange.ledger, self.exchange.now, self.speed)

    def move(self, to: datetime) -> None:
        """Move the clock forward to `to`. Raises Conflict for the past, InvalidInput beyond the calendar."""
        self.exchange.advance(to)
        self.save()

    def elapse(self, seconds: float) -> None:
        """Let simulated `seconds` pass on a running clock; closed hours are jumped over when the options say so."""
        exchange, left = self.exchange, timedelta(seconds=seconds)
        calendar = exchange.market.calendar
        while left > timedelta(0):
            to = exchange.now + left
            if self.options.skip_closed:
                session = calendar.session_at(exchange.now)
                if session is None:
                    exchange.advance(calendar.next_open(exchange.now))
                    continue
                to = min(to, session.closes_at)
            left -= to - exchange.now
            exchange.advance(to)
        self.save()

    def set_speed(self, speed: float) -> None:
        """Simulated seconds per second from now on; 0 stops the clock."""
        self.speed = checked_speed(speed)
        self.save()

    def reset(self, *, start: date | None, seed: int | None, cash: Decimal | None) -> None:
        """Begin a new run, with what is not given as before."""
        options = replace(
            self.options,
            start=start or self.started_at.date(),
            seed=self.options.seed if seed is None else seed,
            cash=self.options.cash if cash is None else cash,
        )
        self.exchange, self.started_at = self._build(options.start, options.seed, options.cash)
        self.options = options
        self.store.begin(self._identity())
        self.save()

    def _build(self, start: date | None, seed: int, cash: Decimal) -> tuple[Exchange, datetime]:
        if not (cash.is_finite() and 0 < cash <= Decimal(10) ** 12):
            raise InvalidInput(f"cash must be above zero and at most 10^12, got {cash}")
        options, calendar = self.options, new_york_calendar()
        market, first = open_market(data=options.data, symbols=options.symbols, start=start, seed=seed, calendar=calendar)
        opens_at = calendar.between(first, first)[0].opens_at
        ledger = Ledger(seed=seed, cash=cash)
        return Exchange(market=market, ledger=ledger, costs=options.costs, now=opens_at), opens_at

    def _identity(self) -> dict[str, str]:
        ledger, market = self.exchange.ledger, self.exchange.market
        return {
            "start": self.started_at.date().isoformat(),
            "seed": str(market.seed),
            "data": market.source.fingerprint,
            "cash": str(ledger.start_cash),
            "costs": json.dumps(asdict(self.options.costs), default=str, sort_keys=True),
        }

    def _resume(self, facts: Mapping[str, str], identity: Mapping[str, str]) -> None:
        differing = [name for name, value in identity.items() if facts.get(name) != value]
        if differing:
            raise ConfigurationError(
                f"the state file {self.options.state_file} belongs to another run (different {', '.join(differing)}); "
                "start with the options of that run, name another file, or remove this one"
            )
        self.store.load(self.exchange.ledger)
        self.exchange.now = datetime.fromisoformat(facts["clock"])
        _log.info("run resumed", clock=facts["clock"], orders=len(self.exchange.ledger.orders))


def checked_speed(speed: float) -> float:
    """`speed` when a clock can run at it; InvalidInput otherwise."""
    if not 0 <= speed <= MAXIMUM_SPEED:
        raise InvalidInput(f"speed must be between 0 and {MAXIMUM_SPEED:.0f} simulated seconds per second")
    return float(speed)
