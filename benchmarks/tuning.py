"""W8: what a trial of a search costs beside its evaluation: the product's durable search, and Optuna alone on the same journal.

`python benchmarks/tuning.py [--rounds 3] [--out results.jsonl]`. 200 trials of SMA cross on 1,000 generated daily bars, whose
evaluation takes well under a millisecond, one process. The product leases each trial, evaluates it, counts it in the trial
ledger and keeps its result, all committed to disk; Optuna asks and tells two numbers. Its sampler is the same in both.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import Message, merged, random_walk, table, told

TRIALS, BARS = 200, 1_000
NAMES = ("product", "Optuna, journal file", "Optuna, memory")


def product(place: Path) -> Callable[[], Any]:
    """A whole run of the product's search on a new database."""
    import structlog

    from app.config import Settings
    from app.domain.bar import DAILY, BarSeries
    from app.wiring import build_research, open_without_migrating

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    settings = Settings(
        _env_file=None, database_url=f"sqlite:///{place}/bench.db", state_dir=place, params_dir=place, models_dir=place
    )
    service = build_research(settings)
    walk, at = random_walk(BARS, sigma=0.015), 1_500_000_000 + 86_400 * np.arange(BARS)
    prices = {name: walk[name] for name in ("open", "high", "low", "close", "volume")}
    database = open_without_migrating(settings)
    database.save_bars({"X": BarSeries(symbol="X", timeframe=DAILY, timestamp=at, known_at=at + 60, **prices)})
    seeds = count()

    def run() -> None:
        bounds = {"fast": (2, 40), "slow": (41, 200)}
        request = {"strategy": "sma_cross", "symbols": ["X"], "bounds": bounds, "trials": TRIALS, "seed": next(seeds)}
        ended = service.work(service.start("optimize", request))
        if ended.state.value != "done":
            raise SystemExit(f"the search ended {ended.state}: {ended.error}")

    return run


def optuna_alone(place: Path | None) -> Callable[[], Any]:
    """Ask and tell, in a journal in `place`, or in memory."""
    import optuna

    from app.storage.study_files import study_journal

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seeds = count()

    def run() -> None:
        sampler = optuna.samplers.TPESampler(seed=next(seeds), n_startup_trials=10, constant_liar=True)
        study = optuna.create_study(storage=study_journal(str(place))() if place else None, sampler=sampler)
        for _ in range(TRIALS):
            trial = study.ask()
            fast, slow = trial.suggest_int("fast", 2, 40), trial.suggest_int("slow", 41, 200)
            study.tell(trial, (fast - 10.0) ** 2 + (slow - 90.0) ** 2)

    return run


def main() -> None:
    """Rounds of all contestants, and a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", choices=NAMES, help=argparse.SUPPRESS)
    wish = parser.parse_args()
    if wish.only:
        from importlib.metadata import version

        from measuring import measured

        with tempfile.TemporaryDirectory() as directory:
            place = Path(directory)
            run = product(place) if wish.only == "product" else optuna_alone(place if "journal" in wish.only else None)
            who = "product" if wish.only == "product" else version("optuna")
            measured(wish.only, who, float(TRIALS), "trials", run, runs=2)
        return
    figures: dict[str, list[Message]] = {name: [] for name in NAMES}
    for _ in range(wish.rounds):
        for name in NAMES:
            figures[name] += told([sys.executable, __file__, "--only", name])
    table(f"W8, {TRIALS} trials", [merged(rounds) for rounds in figures.values()], wish.out)


if __name__ == "__main__":
    main()
