"""R01: kill -9 at named places, while orders are on their way and by chance; the exchange's ledger is the judge.

KILLS=1000 SEED=1 sets how many and which (`make kill-campaign`); CAMPAIGN_DIR keeps the journal, so that an interrupted
campaign goes on where it was.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from app.runtime.failpoint import POINTS
from app.storage.database import Database
from tests.databases import wipe
from tests.faults import campaign
from tests.faults.points import BETWEEN_SEND_AND_STORE, BY_CHANCE, HELD, plan

KILLS = int(os.environ.get("KILLS", "25"))
SEED = int(os.environ.get("SEED", "1"))
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
    assert len(died) >= 0.95 * KILLS, "too many places were never reached"
    if KILLS >= 1_000:
        assert all(died.count(point) >= 40 for point in POINTS)
        assert sum(kind in BETWEEN_SEND_AND_STORE for kind in died) >= 300
