"""R01: kill -9 at named places, while orders are on their way and by chance; the exchange's ledger is the judge.

KILLS=1000 SEED=1 sets how many and which (`make kill-campaign`), ROLE_KILLS=20 how many deaths of whole roles; CAMPAIGN_DIR
keeps the journal, so that an interrupted campaign goes on where it was.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from app.runtime.clock import WallClock
from app.runtime.failpoint import POINTS
from app.services.database_service import DatabaseService
from app.storage.database import Database
from tests.databases import wipe
from tests.faults import campaign
from tests.faults.campaign_laws import loosened
from tests.faults.points import BETWEEN_SEND_AND_STORE, BY_CHANCE, HELD, plan
from tests.processes.installation import installed
from tests.processes.test_up import TURNING, assert_no_order_twice

KILLS = int(os.environ.get("KILLS", "8"))
SEED = int(os.environ.get("SEED", "1"))
ROLE_KILLS = int(os.environ.get("ROLE_KILLS", "0"))
ROLES = ("worker-trading", "worker-trading", "api", "beat")
CYCLES_BETWEEN_KILLS = 3
EVERY_NTH_ON_POSTGRESQL = 5 if KILLS > 100 else 0


def test_a_full_campaign_hits_every_place_often_enough() -> None:
    kinds = [kill.kind for kill in plan(1_000, 1)]
    assert len(kinds) == 1_000
    assert all(kinds.count(point) >= 40 for point in POINTS)
    assert sum(kind in BETWEEN_SEND_AND_STORE for kind in kinds) >= 300
    short = {kill.kind for kill in plan(25, 1)}
    assert short == {*POINTS, *HELD, BY_CHANCE}
    assert plan(200, 3) == plan(200, 3) != plan(200, 4)


@pytest.mark.processes
@pytest.mark.timeout(300 + 30 * KILLS)
def test_R01_no_death_doubles_an_order_loses_a_fill_or_breaks_a_limit(
    tmp_path: Path, sqlite_template: Path, request: pytest.FixtureRequest
) -> None:
    def empty_database(number: int, place: Path) -> str:
        if EVERY_NTH_ON_POSTGRESQL and number % EVERY_NTH_ON_POSTGRESQL == 0:
            url: str = request.getfixturevalue("postgresql_url")
            database = Database(url)
            wipe(database)
            database.close()
            return url
        shutil.copyfile(sqlite_template, place / "ledger.db")
        return f"sqlite:///{place / 'ledger.db'}"

    done = campaign.run(KILLS, SEED, Path(os.environ.get("CAMPAIGN_DIR") or tmp_path), empty_database)
    print(campaign.summary(done))
    told = [f"round {one.number}, seed {one.seed}: {fault}" for one in done for fault in one.told]
    assert not told, "\n".join(told)
    died = [kind for one in done for kind in one.died]
    assert len(died) >= KILLS - max(1, KILLS // 20), "too many places were never reached"
    if KILLS >= 1_000:
        assert all(died.count(point) >= 40 for point in POINTS)
        assert sum(kind in BETWEEN_SEND_AND_STORE for kind in died) >= 300


@pytest.mark.processes
@pytest.mark.skipif(not ROLE_KILLS, reason="the short form of this one is in tests/processes")
@pytest.mark.timeout(300 + 60 * ROLE_KILLS)
def test_R01_no_death_of_a_role_does_either(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    cycles = CYCLES_BETWEEN_KILLS * (ROLE_KILLS + 2)
    with installed(tmp_path, "--cycles", str(cycles), "--speed", "3000", forecasts=TURNING) as here:
        for number in range(1, ROLE_KILLS + 1):
            done = (CYCLES_BETWEEN_KILLS - 1) * number  # a death may take a cycle with it
            here.wait_until(lambda done=done: here.cycles() >= done, 120)
            time.sleep(dice.uniform(0.0, 1.0))
            here.kill(dice.choice([role for role in ROLES if role in here.roles()]))
        assert here.process.wait(120 + 20 * ROLE_KILLS) == 0, here.output()
        assert_no_order_twice(here)
        books = Database(f"sqlite:///{next(file for file in here.run.glob('*.db') if file.name != 'exchange.db')}")
        ledger = DatabaseService(books, WallClock())
        listed_at = ledger.fills_listed_at()
        assert listed_at is not None
        theirs = {
            fill["execution_id"]: (fill["symbol"], fill["side"], Decimal(fill["quantity"]), Decimal(fill["price"]))
            for fill in here.exchange("fills")
            if datetime.fromisoformat(fill["filled_at"]) <= listed_at
        }
        booked = [record.fill for record in ledger.fills(1_000_000)]
        ours = {fill.execution_id: (fill.symbol, fill.side.value, fill.quantity, fill.price) for fill in booked}
        assert ours == theirs
        assert loosened(ledger) == []
        ledger.close()
