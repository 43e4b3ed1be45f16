"""A campaign of kills (R01): rounds of deaths on one exchange and one database each, judged by the exchange's ledger.

Everything depends on the seed but the moments of deaths by chance. Each round's plan and each death go to a journal, so that
an interrupted campaign goes on where it was.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from app.domain.trading_state import TradingState
from app.runtime.kill_file import NAME as KILL_FILE
from tests.faults import campaign_laws as laws
from tests.faults.controller import Process, Stack, stack
from tests.faults.controller_process import MOST_CYCLES
from tests.faults.points import BY_CHANCE, HELD, Kill, plan, table

KILLS_PER_ROUND = 25
TRIES = 4
LONGEST_CHANCE_SECONDS = 0.8
Databases = Callable[[int, Path], str]


@dataclass
class Round:
    """One round: what it does, what came of it. breaches: sentences by law."""

    number: int
    kills: list[Kill]
    seed: int
    died: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    breaches: dict[str, int] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    orders: int = 0
    fills: int = 0


def rounds(kills: int, seed: int) -> list[Round]:
    """The campaign's rounds."""
    everything = plan(kills, seed)
    starts = range(0, len(everything), KILLS_PER_ROUND)
    return [
        Round(number, everything[start : start + KILLS_PER_ROUND], seed * 10_000 + number)
        for number, start in enumerate(starts, 1)
    ]


def run(kills: int, seed: int, directory: Path, databases: Databases) -> list[Round]:
    """Every round that the journal does not hold yet; all of them are returned. databases: URL of an empty, migrated database
    for a round's number and directory."""
    journal = directory / f"campaign-{seed}-{kills}.jsonl"
    done = {entry["number"]: entry for entry in _read(journal)}
    result = []
    for one in rounds(kills, seed):
        if one.number in done:
            result.append(Round(**(done[one.number] | {"kills": one.kills})))
            continue
        started, place = time.monotonic(), directory / f"round-{one.number}"
        shutil.rmtree(place, ignore_errors=True)  # of an interrupted round
        place.mkdir(parents=True)
        with stack(place, databases(one.number, place), seed=one.seed) as here:
            try:
                Executioner(here, one).carry_out()
            except AssertionError as fault:
                fault.add_note(f"in round {one.number}, seed {one.seed}, after {len(one.died)} deaths")
                raise
        with journal.open("a") as file:
            file.write(json.dumps(asdict(one)) + "\n")
        seconds = time.monotonic() - started
        print(f"round {one.number} (seed {one.seed}): {len(one.died)} deaths in {seconds:.0f} s, {one.told or 'all laws hold'}")
        result.append(one)
    return result


def _read(journal: Path) -> list[dict[str, Any]]:
    """Whole lines; the last one may have been cut short."""
    lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


class Executioner:
    """Carries out one round."""

    def __init__(self, here: Stack, one: Round) -> None:
        self._here = here
        self._round = one
        self._trader: Process
        self._halted_at: int | None = None  # entries accepted when trading was last seen stopped
        self._late: int | None = None  # a barrier whose order is delivered after the next life's first cycle

    def carry_out(self) -> None:
        """All its kills, each after a recovery that is judged; then the end of the day."""
        self._trader = self._here.start()
        for _ in range(2):
            self._trader.do("cycle")
        for kill, following in zip_longest(self._round.kills, self._round.kills[1:]):
            self._die(kill)
            self._trader = self._here.start(crash_at=_at_start(following)) if not self._trader.is_alive() else self._trader
        self._recover()
        self._trader.do("cycle")
        self._trader.do("cycle")
        self._judge("the end")
        self._note("differing books", "the end", laws.unsettled(self._here.database))
        ledger = self._here.venue.ledger()
        self._note("limit breaches", "the end", laws.limit_breaches(ledger, self._here.seed))
        self._round.orders, self._round.fills = len(ledger["orders"]), len(ledger["fills"])
        self._trader.stop()

    def _die(self, kill: Kill) -> None:
        for _ in range(TRIES):
            self._attempt(kill)
            if not self._trader.is_alive():
                assert self._trader.was_killed(), f"{kill}: the process fell by itself; see trader.log"
                self._round.died.append(kill.kind)
                self._look_at_the_halt()
                return
        self._round.missed.append(kill.kind)

    def _attempt(self, kill: Kill) -> None:
        """Bring the process to the place and kill it; it may never come there."""
        if not self._recover():
            return
        self._judge(kill.kind)
        self._halted_at = None
        self._trader.do("resume")
        if kill.kind in HELD:
            self._while_held(kill)
        elif kill.kind == BY_CHANCE:
            self._trader.begin("loop")
            time.sleep(random.Random(kill.seed).uniform(0.0, LONGEST_CHANCE_SECONDS))
            self._trader.kill()
        else:
            self._at_point(kill)

    def _at_point(self, kill: Kill) -> None:
        if kill.kind == "in_flatten":
            held = self._buy_something()
            self._trader.do("flatten")
            self._trader.do("arm", f"in_flatten:{1 + kill.seed % max(held - 1, 1)}")
        elif kill.kind in ("in_risk_save", "after_risk_save"):
            self._trader.do("arm", kill.kind)
            self._trader.do("halt" if kill.seed % 2 else "kill_file")
        else:
            self._trader.do("arm", f"{kill.kind}:{kill.visit}")
        if self._trader.is_alive():
            self._trader.do("loop")
        if self._trader.is_alive():  # it was never there
            self._trader.do("arm", "")

    def _buy_something(self) -> int:
        """Cycles until there is more than one position to sell; how many there are."""
        for _ in range(MOST_CYCLES):
            held = len(self._here.database.portfolio().positions)
            if held > 1:
                break
            self._trader.do("cycle")
        return held

    def _while_held(self, kill: Kill) -> None:
        when = "after" if kill.kind == "accepted_unread" else "before"
        venue = self._here.venue
        barrier = venue.barrier(method="POST", path="/v2/orders", number=kill.visit, when=when)
        self._trader.begin("loop")
        while not (arrived := venue.has_arrived(barrier)) and not self._trader.has_answered():
            assert self._trader.is_alive(), "it fell by itself; see trader.log"
        if not arrived:
            venue.drop_barriers()
            return
        self._trader.kill()
        if kill.kind == "held_late":
            self._late = barrier
        else:
            venue.release(barrier, "reset" if kill.kind == "held_dropped" else "proceed")

    def _recover(self) -> bool:
        """The first cycle of a life; False if it died over it."""
        outcome = self._trader.do("cycle")
        if self._late is not None:  # the order comes after the look-up that missed it
            self._here.venue.release(self._late, "proceed")
            self._late = None
            outcome = outcome and self._trader.do("cycle")
        if outcome is None:
            return False
        assert outcome in ("completed", "market_closed"), f"the cycle after a death ended as {outcome}; see trader.log"
        return True

    def _state(self) -> TradingState:
        state = self._here.database.risk_state()
        return state.trading_state if state is not None else TradingState.ACTIVE

    def _look_at_the_halt(self) -> None:
        """Whether trading stood still when it died; then nothing may take on risk until a person resumes."""
        killed = (self._here.directory / KILL_FILE).exists()
        if self._late is None and (killed or self._state() >= TradingState.HALTED):
            self._halted_at = laws.accepted_buys(self._here.venue.ledger())

    def _judge(self, where: str) -> None:
        ledger = self._here.venue.ledger()
        for law, faults in laws.judge(ledger, self._here.database).items():
            self._note(law, where, faults)
        if self._halted_at is None:
            return
        if self._state() < TradingState.HALTED:
            self._note("loosened risk", where, ["trading goes on after a halt that nobody lifted"])
        bought = laws.accepted_buys(ledger) - self._halted_at
        self._note("limit breaches", where, [f"{bought} entries while trading stood still"] if bought else [])

    def _note(self, law: str, where: str, faults: list[str]) -> None:
        self._round.breaches[law] = self._round.breaches.get(law, 0) + len(faults)
        after = f"{law}, after death {len(self._round.died)}, before {where}"
        self._round.told += [f"{after}: {fault}" for fault in faults]


def _at_start(kill: Kill | None) -> str:
    """The failpoint to start the life with that is to end so, if it is to be armed while it still recovers."""
    if kill is None or not kill.at_start or kill.kind in {*HELD, BY_CHANCE, "in_flatten"}:
        return ""
    return f"{kill.kind}:{kill.visit}"


def summary(done: list[Round]) -> str:
    """What a campaign came to."""
    found = sum((Counter(one.breaches) for one in done), Counter[str]())
    lines = [table([kind for one in done for kind in one.died]), ""]
    lines += [f"{found[law]:6}  {law}" for law in laws.LAWS]
    missed = sum(len(one.missed) for one in done)
    orders, fills = sum(one.orders for one in done), sum(one.fills for one in done)
    lines += [f"{missed:6}  places never reached", f"{orders:6}  orders at the exchange, {fills} executions"]
    return "\n".join(lines)
