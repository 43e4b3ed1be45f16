"""One trading cycle by the number of symbols: seconds by stage, requests to the venue, database statements.

`python benchmarks/cycle.py [--symbols 32 500 3000 10000] [--cycles 12] [--out results.jsonl]`. The services are wired as in
production: alpaca-py over HTTP against `venue.py`, which answers after a millisecond, and SQLite with full durability. Three
forecasters: models (one trained, stored under every symbol's name, so up to 500 symbols), forecasts out of a file, and SMA
cross on bars of 15 minutes. Measured are the cycle that enters positions, those that hold them, the last one before the next
session (`ahead`: it fetches all bars anew) and the first one in it. Every case is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

Message = dict[str, Any]

CASES = ("models", "scripted", "sma_cross 15Min")
MOST_MODELS = 500
SIZES = (32, 500, 3_000, 10_000)
STAGES = ("reconcile", "collect", "forecast", "decide", "commit", "send")


@contextmanager
def served(symbols: int) -> Iterator[str]:
    """The address of a venue, in a process of its own."""
    process = subprocess.Popen([sys.executable, str(HERE / "venue.py"), str(symbols)], stdout=subprocess.PIPE, text=True)
    try:
        yield f"http://127.0.0.1:{int((process.stdout or sys.stdin).readline())}"
    finally:
        process.terminate()
        process.wait()


def move(url: str, now: datetime) -> Counter[str]:
    """Set the venue's clock; the requests since the last time by path."""
    request = urllib.request.Request(f"{url}/bench", data=json.dumps({"now": now.isoformat()}).encode(), method="POST")
    with urllib.request.urlopen(request) as answer:
        return Counter(json.load(answer))


def settings_of(case: str, symbols: int, url: str, place: Path) -> Any:
    """Those of a simulated installation on this venue."""
    from app.config import Settings
    from benchmarks.venue import names

    listed = names(symbols)
    given: Message = {}
    if case == "scripted":
        script = place / "forecasts.csv"
        rows = "".join(f"{symbol},{0.03 if number % 3 == 0 else 0.0},0.9\n" for number, symbol in enumerate(listed))
        script.write_text("symbol,expected_return,confidence\n" + rows)
        given["forecasts_file"] = script
    elif case != "models":
        given["strategy"], given["strategy_timeframe"] = case.split(" ")
    return Settings(
        _env_file=None, watchlist=listed, alpaca_trading_url=url, alpaca_data_url=url, database_url=f"sqlite:///{place}/bench.db",
        models_dir=place / "models", params_dir=place / "params", state_dir=place, logs_dir=place, **given,
    )  # fmt: skip


def publish_models(services: Any, settings: Any) -> None:
    """One symbol's model under every symbol's name."""
    from app.learning.parameters import DEFAULT_PARAMS
    from app.learning.training import train_symbol
    from app.storage.model_files import ModelFiles

    first = settings.watchlist[0]
    bars, now = services.alpaca.training_bars([first])
    model, files = train_symbol(bars[first], DEFAULT_PARAMS, trained_at=now), ModelFiles(settings.models_dir)
    for symbol in settings.watchlist:
        files.publish(replace(model, symbol=symbol))


class Bench:
    """The services on a venue, and how their cycles are measured."""

    def __init__(self, services: Any, url: str) -> None:
        from sqlalchemy import event

        self._services, self._url, self._statements = services, url, 0
        event.listen(services.database._db.engine, "before_cursor_execute", self._count)

    def _count(self, *_: object) -> None:
        self._statements += 1

    def cycle(self, at: datetime, wanted: str = "completed") -> Message:
        """One cycle at the venue's time `at`: seconds in all and by stage, requests by path, statements."""
        move(self._url, at)
        self._statements, cpu, started = 0, time.process_time(), time.perf_counter()
        report = self._services.trading.run_cycle()
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        if report.outcome != wanted or "differ" in report.detail:
            raise SystemExit(f"cycle at {at}: {report.outcome}: {report.detail}")
        timings = self._services.database.cycle(report.cycle_id).timings
        return {
            "seconds": seconds,
            "cpu": cpu,
            "orders": report.orders,
            "asked": dict(move(self._url, at)),
            "statements": self._statements,
        } | {stage: timings.get(stage, 0.0) for stage in STAGES}


def measure(case: str, symbols: int, cycles: int) -> Message:
    """A start, the cycle that enters, `cycles` that hold, and the opening of the next session."""
    import structlog

    from app.runtime.calendar import new_york_calendar
    from app.runtime.memory import settle
    from app.wiring import build

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with served(symbols) as url, tempfile.TemporaryDirectory() as directory:
        today, tomorrow = (one.opens_at for one in new_york_calendar().between(date(2023, 3, 1), date(2023, 4, 1))[:2])
        move(url, today + timedelta(minutes=40))
        settings = settings_of(case, symbols, url, Path(directory))
        services = build(settings)
        if case == "models":
            publish_models(services, settings)
        started = time.perf_counter()
        services.trading.prepare()
        settle()
        start = time.perf_counter() - started
        bench = Bench(services, url)
        entering = bench.cycle(today + timedelta(minutes=50))
        later = [bench.cycle(today + timedelta(minutes=60 + 10 * number)) for number in range(cycles)]
        ahead = bench.cycle(tomorrow - timedelta(minutes=5), "market_closed")
        opening = bench.cycle(tomorrow + timedelta(minutes=5))
        services.close()
    medians = {key: statistics.median(run[key] for run in later) for key in ("seconds", "cpu", "statements", *STAGES)}
    return medians | {
        "workload": "cycle",
        "name": case,
        "symbols": symbols,
        "cycles": cycles,
        "start_seconds": start,
        "entering": entering,
        "ahead": ahead,
        "opening": opening,
        "calls": max(requests(run) for run in later),
        "asked": later[-1]["asked"],
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "load": os.getloadavg()[0],
    }


def requests(run: Message) -> int:
    """To the venue, but for the orders themselves."""
    return sum(count for path, count in run["asked"].items() if not path.startswith("POST"))


HEADS = f"{'s':>7} {'CPU s':>6} {' '.join(f'{stage:>9}' for stage in STAGES)} {'calls':>5} {'SQL':>5}"


def figures(run: Message, calls: int) -> str:
    """The columns of `HEADS`; stages in milliseconds."""
    stages = " ".join(f"{1e3 * run[stage]:9.1f}" for stage in STAGES)
    return f"{run['seconds']:7.3f} {run['cpu']:6.3f} {stages} {calls:>5} {run['statements']:>5.0f}"


def show(row: Message) -> None:
    """The kinds of cycles, a line each."""
    about = f"ready {row['start_seconds']:.1f} s after the start, {row['peak_mib']} MiB"
    print(f"\n{row['name']}, {row['symbols']:,} symbols ({about})")
    print(f"  {'holding, median':18} {figures(row, row['calls'])}")
    for name in ("entering", "ahead", "opening"):
        print(f"  {name:18} {figures(row[name], requests(row[name]))}", flush=True)


def main() -> None:
    """Every case and size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--symbols", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    parser.add_argument("--cycles", type=int, default=12)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    wish = parser.parse_args()
    if wish.only:
        print(json.dumps(measure(wish.only[0], int(wish.only[1]), wish.cycles)))
        return
    print(f"{'':20} {HEADS}")
    for case in wish.cases:
        for symbols in wish.symbols:
            if case == "models" and symbols > MOST_MODELS:
                continue
            command = [sys.executable, __file__, "--only", case, str(symbols), "--cycles", str(wish.cycles)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            row = json.loads(done.stdout.splitlines()[-1])
            show(row)
            if wish.out is not None:
                with wish.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
