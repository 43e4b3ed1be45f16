"""A bench on made-up daily bars, and the process that works on its runs; in a file of its own, since processes import it
afresh."""

from __future__ import annotations

import sys
import time
from datetime import date
from pathlib import Path

import numpy as np

from app.domain.bar import DAILY, BarSeries
from app.risk.limits import Policy, RiskLimits
from app.runtime.calendar import midnight_new_york, new_york_calendar
from app.runtime.clock import WallClock
from app.runtime.owner import is_alive, this_process
from app.services.database_service import DatabaseService
from app.services.research import runs as research
from app.services.research.bench import ResearchBench
from app.services.research.combinatorial import walk_forward_job
from app.services.research.runs import ResearchService
from app.services.research.search import OptimizeJob
from app.services.research.sweep import SweepJob
from app.services.research.windows import Windows
from app.services.verdicts.trial_ledger import TrialLedger
from app.services.verdicts.verdict_service import VerdictService
from app.storage.database import Database
from app.storage.param_files import ParamFiles
from app.storage.study_files import study_journal
from app.strategies.catalog import find


def walk(symbol, seed, count=700, drift=0.0003):
    """Daily bars of a random walk, on the sessions of New York."""
    random = np.random.default_rng(seed)
    sessions = new_york_calendar().between(date(2015, 1, 2), date(2020, 12, 31))[:count]
    timestamp = np.array([int(midnight_new_york(session.day).timestamp()) for session in sessions], dtype=np.int64)
    close = 100.0 * np.exp(np.cumsum(random.normal(drift, 0.012, count)))
    opened = np.concatenate(([100.0], close[:-1])) * np.exp(random.normal(0.0, 0.004, count))
    spread = np.abs(random.normal(0.0, 0.005, (2, count)))
    return BarSeries(
        symbol=symbol,
        timeframe=DAILY,
        timestamp=timestamp,
        known_at=np.array([int(session.closes_at.timestamp()) for session in sessions], dtype=np.int64),
        open=opened,
        high=np.maximum(opened, close) * (1.0 + spread[0]),
        low=np.minimum(opened, close) * (1.0 - spread[1]),
        close=close,
        volume=np.full(count, 1e6),
    )


BARS = {symbol: walk(symbol, seed) for seed, symbol in enumerate(("AAA", "BBB", "CCC"))}


def made(url, directory, owner=None):
    """(ResearchService, DatabaseService) with the bars stored."""
    database = DatabaseService(Database(url), WallClock())
    bench = ResearchBench(database, read_file=None, find=find, watchlist=tuple(BARS), clock=WallClock())
    judge = VerdictService(database, TrialLedger(database), WallClock())
    windows = lambda asked: Windows(  # noqa: E731
        asked,
        bench=bench,
        store=database,
        judge=judge,
        limits=RiskLimits(),
        policy=Policy(),
        calendar=new_york_calendar,
    )
    common = {"bench": bench, "clock": WallClock(), "save": database.save_optimizer_results}
    kinds = {
        "sweep": lambda request: SweepJob(request, judge=judge, **common),
        "optimize": lambda request: OptimizeJob(request, storage=study_journal(str(directory)), judge=judge, **common),
        "walk_forward": lambda request: walk_forward_job(request, windows, ParamFiles(directory / "params")),
    }
    service = ResearchService(database, kinds=kinds, owner=owner or this_process(), is_alive=is_alive)
    return service, database


def main(url, directory, run_id):
    research.RENEW_SECONDS = 0.05
    print("ready", flush=True)
    service, database = made(url, Path(directory))
    keep = database.keep_chunk

    def slowly(*arguments):  # so that it is most likely killed between its work and keeping that
        time.sleep(0.15)
        return keep(*arguments)

    database.keep_chunk = slowly
    service.work(run_id, wait=True)
    database.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
