"""W5: training and forecasting of the ensemble's boosters, beside the libraries at their own defaults.

`python benchmarks/models.py [--rounds 3] [--out results.jsonl]`. Training: 1,100 rows x 40 features, 200 trees of 31 leaves, a
model a symbol, two at a time; the error on rows that nobody trained on is printed beside the speed. Forecasting: 32 symbols
with six members each, one row a member, by the walk through the trees and by calls into the libraries. The watch list: 32
symbols trained as every night, from seven years of bars to the stored models.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import Message, merged, random_walk, record, table, told

ROWS, FEATURES, MODELS, SYMBOLS = 1_100, 40, 8, 32
TEST_ROWS = 4_000


def examples(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy returns that a few of the features tell a little about."""
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(rows, FEATURES))
    signal = 0.3 * features[:, 0] + 0.2 * np.tanh(features[:, 1] * features[:, 2]) + 0.2 * (features[:, 3] > 1)
    return features, 0.01 * (signal + draw.normal(size=rows))


def error(forecast: np.ndarray, label: np.ndarray) -> float:
    """Mean squared error over that of forecasting the mean."""
    return float(np.mean((forecast - label) ** 2) / np.var(label))


def ours(library: str, seed: int) -> float:
    """Fit one of the product's boosters; its error out of sample."""
    from app.learning.ensemble import fit, predict
    from app.learning.parameters import DEFAULT_PARAMS

    params = replace(
        DEFAULT_PARAMS,
        rounds=200,
        leaves=31,
        learning_rate=0.05,
        min_leaf_rows=20,
        l2=1.0,
        feature_fraction=0.8,
        row_fraction=0.8,
    )
    members = fit(*examples(seed, ROWS), params, seed=seed, members=((library, 0.0, 1.0),))
    features, label = examples(seed + 10_000, TEST_ROWS)
    return error(predict(members, features)[:, 0], label)


def theirs(library: str, seed: int) -> float:
    """The library's own defaults but for trees, leaves and rate, on all cores; its error out of sample."""
    features, label = examples(seed, ROWS)
    unseen, truth = examples(seed + 10_000, TEST_ROWS)
    if library == "lightgbm":
        import lightgbm

        settings = {"num_leaves": 31, "learning_rate": 0.05, "verbosity": -1, "num_threads": 2}
        booster: Any = lightgbm.train(settings, lightgbm.Dataset(features, label=label), num_boost_round=200)
        return error(booster.predict(unseen), truth)
    import xgboost

    settings = {"max_depth": 6, "eta": 0.05, "tree_method": "hist", "nthread": 2, "verbosity": 0}
    booster = xgboost.train(settings, xgboost.DMatrix(features, label=label), num_boost_round=200)
    return error(booster.predict(xgboost.DMatrix(unseen)), truth)


def product_models(library: str) -> list[float]:
    """As live training does it: a symbol a thread, a thread a booster."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(partial(ours, library), range(MODELS)))


def forecasters() -> tuple[list[Any], list[Any], np.ndarray]:
    """(members of the product, boosters of the libraries, one row a symbol)."""
    import lightgbm
    import xgboost

    from app.learning.ensemble import MEMBERS, fit
    from app.learning.parameters import DEFAULT_PARAMS

    params = replace(DEFAULT_PARAMS, rounds=200, leaves=31, min_leaf_rows=20)
    members = [fit(*examples(seed, ROWS), params, seed=seed, members=MEMBERS) for seed in range(4)]
    boosters = []
    for member in (one for model in members for one in model):
        if member.library == "lightgbm":
            boosters.append(lightgbm.Booster(model_str=member.payload().decode()))
        else:
            booster = xgboost.Booster({"nthread": 1})
            booster.load_model(bytearray(member.payload()))
            boosters.append(booster)
    return members * (SYMBOLS // 4), boosters * (SYMBOLS // 4), examples(1, SYMBOLS)[0]


def by_the_walk(models: list[Any], rows: np.ndarray) -> None:
    """Every member of every symbol."""
    from app.learning.ensemble import predict

    for number, members in enumerate(models):
        predict(members, rows[number : number + 1])


def by_the_libraries(boosters: list[Any], rows: np.ndarray) -> None:
    """The same by the fastest call that each library offers in Python."""
    for number, booster in enumerate(boosters):
        row = rows[number // 6 : number // 6 + 1]
        if hasattr(booster, "inplace_predict"):
            booster.inplace_predict(row, validate_features=False)
        else:
            booster.predict(row, num_threads=1)


def watch_list(place: str) -> Callable[[], Any]:
    """The nightly training of all symbols."""
    from app.domain.bar import DAILY, BarSeries
    from app.runtime.calendar import new_york_calendar
    from app.services.ai_service import AIService
    from app.storage.model_files import ModelFiles
    from app.storage.param_files import ParamFiles

    sessions = new_york_calendar().between(date(2016, 1, 1), date(2022, 12, 31))
    opens, closes = (np.array([int(getattr(s, name).timestamp()) for s in sessions]) for name in ("opens_at", "closes_at"))
    bars = {}
    for number in range(SYMBOLS):
        walk = random_walk(len(sessions), number, sigma=0.015)
        prices = {name: walk[name] for name in ("open", "high", "low", "close", "volume")}
        bars[f"S{number}"] = BarSeries(symbol=f"S{number}", timeframe=DAILY, timestamp=opens, known_at=closes, **prices)
    service = AIService(ModelFiles(Path(place) / "models"), ParamFiles(Path(place) / "params"))

    def run() -> None:
        reports = service.train_batch(bars, at=sessions[-1].closes_at, progress=lambda *_: None)
        if not all(report.trained for report in reports):
            raise SystemExit(f"not trained: {[report.reason for report in reports if not report.trained][:1]}")

    return run


def once(name: str, run: Callable[[], Any]) -> None:
    """Measured without a run to warm up: it happens once a night."""
    from measuring import cpu_seconds, peak_mib, tell

    before, started = cpu_seconds(), time.perf_counter()
    run()
    cpu, wall = [cpu_seconds() - before], [time.perf_counter() - started]
    tell({"name": name, "version": "product", "work": 1.0, "unit": "lists", "cpu": cpu, "wall": wall, "peak_mib": peak_mib()})


def contestant(name: str) -> tuple[str, float, str, Callable[[], Any]]:
    """(version, work, unit, run)."""
    work, who = name.split(": ")
    if work == "forecast":
        models, boosters, rows = forecasters()
        run = partial(by_the_walk, models, rows) if who == "product" else partial(by_the_libraries, boosters, rows)
        return ("product" if who == "product" else "defaults", 1.0, "forecasts", run)
    if who == "product":
        return ("product", float(MODELS), "models", partial(product_models, work))
    return ("defaults", float(MODELS), "models", lambda: [theirs(work, seed) for seed in range(MODELS)])


def main() -> None:
    """Rounds of all contestants, and a table for each piece of work."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    wish = parser.parse_args()
    if wish.only:
        from measuring import measured, tell

        if wish.only == "watch list: product":
            with tempfile.TemporaryDirectory() as place:
                once(wish.only, watch_list(place))
            return
        version, work, unit, run = contestant(wish.only)
        answer = measured(wish.only, version, work, unit, run, runs=3)
        tell({"error": float(np.mean(answer)) if answer else 0.0})
        return
    for work in ("lightgbm", "xgboost", "forecast"):
        names = (f"{work}: product", f"{work}: library")
        figures: dict[str, list[Message]] = {name: [] for name in names}
        errors: dict[str, float] = {}
        for _ in range(wish.rounds):
            for name in names:
                speed, judged = told([sys.executable, __file__, "--only", name])
                figures[name].append(speed)
                errors[name] = judged["error"]
        table(f"W5 {work}", [merged(rounds) for rounds in figures.values()], wish.out)
        if work != "forecast":
            print("error out of sample: " + ", ".join(f"{name} {value:.4f}" for name, value in errors.items()))

    night = merged(told([sys.executable, __file__, "--only", "watch list: product"])) | {"workload": "W5 watch list"}
    record([night], wish.out)
    seconds = f"{1 / night['per_second']:.1f} s, {1 / night['per_cpu_second']:.1f} s of CPU time"
    print(f"\nthe watch list of {SYMBOLS} symbols: {seconds}")


if __name__ == "__main__":
    main()
