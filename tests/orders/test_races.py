"""R05: real processes at one database race for the last slot and the last exposure. R06: one effective cycle per slot."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from typing import Any

import pytest

from tests.orders import racers
from tests.storage.made import T0, holding, risk

RACES = int(os.environ.get("RACES", "40"))
TICKS = int(os.environ.get("TICKS", "50"))

pytestmark = [pytest.mark.processes, pytest.mark.timeout(7200)]
Raced = Callable[..., list[list[Any]]]


@pytest.fixture(scope="module")
def race() -> Iterator[Raced]:
    """Runs a function of `racers` in four processes that keep step."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.orders.racers"])
    with context.Manager() as manager, ProcessPoolExecutor(racers.RACERS, mp_context=context) as pool:

        def run(work: Callable[..., list[Any]], url: str, rounds: int) -> list[list[Any]]:
            barrier = manager.Barrier(racers.RACERS)
            futures = [pool.submit(work, url, number, rounds, barrier) for number in range(racers.RACERS)]
            faults = [fault for future in futures if (fault := future.exception(timeout=7000)) is not None]
            # Who falls out leaves the others waiting in vain; the first reason is the one that counts.
            for fault in sorted(faults, key=lambda fault: isinstance(fault, threading.BrokenBarrierError)):
                raise fault
            return [future.result() for future in futures]

        yield run


@pytest.mark.row("D03", "I05", "I06")
@pytest.mark.parametrize("held", [racers.SLOTS, racers.EXPOSURE], ids=["slot", "exposure"])
def test_r05_one_of_four_gets_what_is_left(ledger, database_url, race, held):
    ledger.open_account("a", racers.EQUITY - sum(units * racers.PRICE for _, units in held), T0)
    ledger.adopt_positions([holding(symbol, units) for symbol, units in held], T0)
    ledger.save_risk_state(risk())
    won = race(racers.commit_in_step, database_url, RACES)
    assert sorted(chain.from_iterable(won)) == list(range(RACES)), "exactly one in each round"
    refused = [one.error for one in ledger.orders(limit=10 * RACES) if one.error]
    assert len(refused) == (racers.RACERS - 1) * RACES
    rule = "max_positions" if held is racers.SLOTS else "max_exposure"
    assert {error.partition(":")[0] for error in refused} == {rule}
    print(f"{RACES} rounds of {racers.RACERS}, 0 breaches; rounds won: {[len(one) for one in won]}")


@pytest.mark.row("D01")
def test_r06_each_slot_runs_once(ledger, database_url, race):
    ran = race(racers.tick_in_step, database_url, TICKS)
    every = list(chain.from_iterable(ran))
    assert len(every) == len(set(every)), "no slot ran twice"
    assert sorted(one.cycle_id for one in ledger.cycles(limit=2 * TICKS)) == sorted(every)
    assert len(every) == TICKS
    print(f"{TICKS} ticks delivered {2 * racers.RACERS} times each, {len(every)} effective cycles")
