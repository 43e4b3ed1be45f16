"""One trading cycle by the number of symbols: seconds by stage, requests to the venue, database statements.

`python benchmarks/cycle.py [--symbols 32 500 3000 10000] [--cycles 12] [--out results.jsonl]`. The services are wired as in
production: alpaca-py over HTTP against `venue.py`, which answers after a millisecond, and SQLite with full durability. Three
forecasters: models (one trained, stored under every symbol's name, so up to 500 symbols), forecasts out of a file, and SMA
cross on bars of 15 minutes. The first cycle of a session asks for all bars anew and enters seven positions; the others hold
them. Every case is a process of its own; figures are medians of its cycles.
"""

from __future__ import annotations

import argparse
import json
import logging
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
GATES = {32: (1.0, 0.2), 3_000: (2.0, 2.0)}  # seconds: gate, stretch
GATE_CALLS = 8


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


def measure(case: str, symbols: int, cycles: int) -> Message:
    """A session's first cycle, and `cycles` more."""
    import structlog
    from sqlalchemy import event

    from app.runtime.calendar import new_york_calendar
    from app.wiring import build

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    statements = [0]
    with served(symbols) as url, tempfile.TemporaryDirectory() as directory:
        opens_at = new_york_calendar().between(date(2023, 3, 1), date(2023, 4, 1))[0].opens_at
        move(url, opens_at + timedelta(minutes=40))
        settings = settings_of(case, symbols, url, Path(directory))
        services = build(settings)
        engine = services.database._db.engine
        event.listen(engine, "before_cursor_execute", lambda *_: statements.__setitem__(0, statements[0] + 1))
        if case == "models":
            publish_models(services, settings)
        services.alpaca.prepare()
        runs = []
        for number in range(cycles + 1):
            move(url, opens_at + timedelta(minutes=50 + 10 * number))
            statements[0], cpu, started = 0, time.process_time(), time.perf_counter()
            report = services.trading.run_cycle()
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
            if report.outcome != "completed" or "differ" in report.detail:
                raise SystemExit(f"{case}, {symbols} symbols: {report.outcome}: {report.detail}")
            asked = move(url, opens_at + timedelta(minutes=50 + 10 * number))
            timings = services.database.cycle(report.cycle_id).timings
            runs.append(
                {"seconds": seconds, "cpu": cpu, "orders": report.orders, "asked": dict(asked), "statements": statements[0]}
                | {stage: timings.get(stage, 0.0) for stage in STAGES}
            )  # fmt: skip
        services.close()
    first, later = runs[0], runs[1:]
    return {
        "workload": "cycle", "name": case, "symbols": symbols, "cycles": cycles, "first": first,
        "calls": max(sum(run["asked"].values()) - run["orders"] for run in later),
        "asked": later[-1]["asked"], "orders": sum(run["orders"] for run in later),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    } | {key: statistics.median(run[key] for run in later) for key in ("seconds", "cpu", "statements", *STAGES)}  # fmt: skip


def show(row: Message) -> None:
    """One line."""
    first = row["first"]
    stages = " ".join(f"{1e3 * row[stage]:8.1f}" for stage in STAGES)
    asked = sum(first["asked"].values()) - first["orders"]
    print(
        f"{row['name']:16} {row['symbols']:>6} {row['seconds']:>8.3f} {row['cpu']:>7.3f} {stages} {row['calls']:>6}"
        f" {row['statements']:>6.0f} {first['seconds']:>8.2f} {asked:>6} {row['peak_mib']:>6}",
        flush=True,
    )


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
    heads = " ".join(f"{stage:>8}" for stage in STAGES)
    print(
        f"{'':16} {'symbols':>6} {'s':>8} {'CPU s':>7} {heads} {'calls':>6} {'SQL':>6} {'first s':>8} {'calls':>6} {'MiB':>6}"
    )
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
