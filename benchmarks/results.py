"""docs/benchmarks.md out of the lines of JSON that the benchmarks leave: `python benchmarks/results.py results.jsonl`.

Goals are those the product was built against: a gate that must be met, and a stretch that is wanted.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Row = dict[str, Any]

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
LIBRARIES = ("numpy", "numba", "lightgbm", "xgboost-cpu", "sqlalchemy", "alpaca-py", "optuna")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What one row of one workload must reach. read: the figure out of the row. less: whether less is better. peer: whose
    figure it is measured against, the best one's if empty. relative: the figure is the ratio to it by CPU time."""

    workload: str
    row: str
    what: str
    read: Callable[[Row], float]
    gate: float
    stretch: float
    less: bool = False
    peer: str = ""
    relative: bool = False

    def standing(self, figure: float) -> str:
        """Where a figure stands."""
        for word, goal in (("stretch met", self.stretch), ("gate met", self.gate)):
            if (figure <= goal) if self.less else (figure >= goal):
                return word
        return "**not met**"


def milliseconds(row: Row) -> float:
    """Of one unit of work, by the clock on the wall."""
    return 1e3 / float(row["per_second"])


def per_cpu(row: Row) -> float:
    """Units a second of CPU time."""
    return float(row["per_cpu_second"])


def per_wall(row: Row) -> float:
    """Units a second by the clock on the wall."""
    return float(row["per_second"])


def memory(row: Row) -> float:
    """MiB at the peak."""
    return float(row["peak_mib"])


def read_ms(row: Row) -> float:
    """130,000 rows into arrays."""
    return 130_000 * milliseconds(row)


def _w2(bars: str) -> tuple[Goal, ...]:
    return (
        Goal(
            workload=f"W2 single {bars} bars", row="product from bars", what="compiled, bars per CPU second", read=per_cpu,
            gate=5e7, stretch=1.2e8,
        ),
        Goal(
            workload=f"W2 class {bars} bars", row="product class", what="plain class, bars per CPU second", read=per_cpu,
            gate=5e5, stretch=2.5e6,
        ),
    )  # fmt: skip


def _w3(symbols: int, gate: float, stretch: float) -> Goal:
    return Goal(
        workload=f"W3, {symbols} symbols", row="product, a whole run", what="all risk rules, symbol-bars per CPU second",
        read=per_cpu, gate=gate, stretch=stretch,
    )  # fmt: skip


GOALS = (
    Goal(workload="W1", row="product, 1 threads", what="sets per CPU second", read=per_cpu, gate=2_500, stretch=10_000),
    Goal(
        workload="W1", row="product, 2 threads", what="sets per second, two threads", read=per_wall, gate=2_500, stretch=10_000
    ),
    Goal(workload="W1", row="product, 2 threads", what="MiB at the peak", read=memory, gate=400, stretch=200, less=True),
    *_w2("130,000"),
    *_w2("1,000,000"),
    _w3(32, 2e7, 8e7),
    _w3(500, 6e7, 4e8),
    Goal(
        workload="W4, 32 symbols", row="product", what="ratio to the plain TA-Lib loop", read=per_cpu, gate=0.9, stretch=1.0,
        peer="TA-Lib, 40 usual ones", relative=True,
    ),
    Goal(
        workload="W4 newest row, 32 symbols", row="increment", what="newest row of 32 symbols, ms", read=milliseconds, gate=2,
        stretch=2, less=True,
    ),
    Goal(workload="W5 lightgbm", row="lightgbm: product", what="models trained per second", read=per_wall, gate=8, stretch=8),
    Goal(workload="W5 xgboost", row="xgboost: product", what="models trained per second", read=per_wall, gate=4, stretch=4),
    Goal(
        workload="W5 forecast", row="forecast: product", what="32 symbols of six members, ms", read=milliseconds, gate=10,
        stretch=3, less=True,
    ),
    Goal(
        workload="W5 watch list", row="watch list: product", what="training 32 symbols of six members, s",
        read=lambda row: milliseconds(row) / 1e3, gate=60, stretch=30, less=True,
    ),
    Goal(
        workload="W6 write, sqlite", row="sqlite: product", what="rows upserted per second", read=per_wall, gate=5e5,
        stretch=1e6,
    ),
    Goal(
        workload="W6 write, postgresql", row="postgresql: product", what="rows upserted per second", read=per_wall, gate=2e5,
        stretch=4e5,
    ),
    Goal(
        workload="W6 read, sqlite", row="sqlite: product", what="130,000 rows to arrays, ms", read=read_ms, gate=60, stretch=10,
        less=True,
    ),
    Goal(
        workload="W6 read, postgresql", row="postgresql: product", what="130,000 rows to arrays, ms", read=read_ms, gate=60,
        stretch=10, less=True,
    ),
    Goal(
        workload="W8, 200 trials", row="product", what="trials per CPU second, journal-class", read=per_cpu, gate=124,
        stretch=1_000, peer="Optuna, journal file",
    ),
)  # fmt: skip
CYCLE_GOALS = {32: (1.0, 0.2), 3_000: (2.0, 2.0)}  # symbols: seconds of the gate and of the stretch
MOST_CALLS = 8


def figure(number: float) -> str:
    """Short, and exact enough."""
    if number >= 1e6:
        return f"{number / 1e6:,.1f} M"
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def lines_of(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table."""
    body = ["| " + " | ".join(row) + " |" for row in rows]
    return ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header), *body, ""]


def goals(rows: Sequence[Row]) -> list[str]:
    """Every goal, with the best peer of its workload."""
    found = []
    for goal in GOALS:
        mine = next((row for row in rows if row["workload"] == goal.workload and row.get("name") == goal.row), None)
        if mine is None:
            found.append((goal.workload, goal.what, "not run", "", "", figure(goal.gate), figure(goal.stretch), "**not run**"))
            continue
        others = [row for row in rows if row["workload"] == goal.workload and row.get("version") not in ("product", None)]
        best = max((row for row in others if goal.peer in ("", row["name"])), key=per_cpu, default=None)
        share = mine["per_cpu_second"] / best["per_cpu_second"] if best is not None and goal.read is not memory else None
        reached = goal.read(mine) if not goal.relative else share if share is not None else float("nan")
        found.append(
            (
                goal.workload,
                goal.what,
                figure(reached),
                f"{best['name']} {best['version']}: {figure(goal.read(best))}"
                if best is not None and share is not None
                else "",
                f"{share:.3g}" if share is not None else "",
                figure(goal.gate),
                figure(goal.stretch),
                goal.standing(reached),
            )
        )
    heads = ("workload", "measure", "product", "best peer", "ratio by CPU", "gate", "stretch", "standing")
    return ["## Goals", "", *lines_of(heads, found)]


def absences(rows: Sequence[Row]) -> list[str]:
    """Peers and workloads that could not be run."""
    found = [f"- {row['workload']}: {row.get('name', '')} {row.get('absent') or row.get('failed')}" for row in rows
             if "absent" in row or "failed" in row]  # fmt: skip
    return ["## Not run", "", *sorted(set(found)), ""] if found else []


def contestants(rows: Sequence[Row]) -> list[str]:
    """Everybody's figures."""
    heads = ("workload", "who", "version", "per CPU second", "per second", "runs", "peak MiB", "load")
    found = [
        (
            row["workload"], row["name"], row["version"], figure(row["per_cpu_second"]), figure(row["per_second"]),
            str(row["runs"]), str(row["peak_mib"]), f"{row['load']:.1f}" if "load" in row else "",
        )
        for row in rows
        if "per_cpu_second" in row
    ]  # fmt: skip
    return ["## All contestants", "", *lines_of(heads, found)]


def cycles(rows: Sequence[Row]) -> list[str]:
    """One trading cycle by the number of symbols."""
    found = []
    for row in (row for row in rows if row["workload"] == "cycle"):
        gate, stretch = CYCLE_GOALS.get(row["symbols"], (None, None))
        met = ""
        if gate is not None:
            seconds, calls = row["seconds"], row["calls"]
            met = "stretch met" if seconds <= stretch else "gate met" if seconds <= gate else "**not met**"
            met += "" if calls <= MOST_CALLS or row["symbols"] != 32 else ", **too many calls**"
        found.append(
            (
                row["name"], f"{row['symbols']:,}", f"{row['seconds']:.3f}", f"{row['cpu']:.3f}", str(row["calls"]),
                f"{row['statements']:.0f}", f"{row['opening']['seconds']:.2f}", f"{row['ahead']['seconds']:.2f}",
                str(row["peak_mib"]), "" if gate is None else f"{gate:g} / {stretch:g}", met,
            )
        )  # fmt: skip
    heads = (
        "forecasts", "symbols", "s", "CPU s", "venue calls", "SQL statements", "first of a session, s", "ahead of it, s",
        "peak MiB", "gate / stretch, s", "standing",
    )  # fmt: skip
    about = (
        "A cycle that holds its positions, venue answering in 1 ms, SQLite with full durability (`benchmarks/cycle.py`). Calls "
        "are HTTP requests but for orders; lists of symbols are split so that an address stays below 8,000 characters, and no "
        "call is made for a symbol. Before a session opens all bars are fetched anew, 10,000 in a request (ahead of it)."
    )
    return ["## One trading cycle", "", about, "", *lines_of(heads, found)] if found else []


def scaling(rows: Sequence[Row]) -> list[str]:
    """A decision and a backtest day by the number of symbols."""
    sizes = [row for row in rows if row["workload"] == "scaling" and "symbols" in row]
    if not sizes:
        return []
    names = list(sizes[0]["milliseconds"])
    slopes: Row = next((row["growth"] for row in rows if row["workload"] == "scaling" and "growth" in row), {})
    found = [[f"{row['symbols']:,}", *(f"{row['milliseconds'][name]:.3g}" for name in names)] for row in sizes]
    found.append(["exponent, 500 to the most", *(f"{slopes[name]:.2f}" if name in slopes else "" for name in names)])
    about = "CPU milliseconds (`benchmarks/scaling.py`); an exponent of 1 is growth in proportion."
    return ["## A decision and a backtest day", "", about, "", *lines_of(["symbols", *names], found)]


def memory_of_years(rows: Sequence[Row]) -> list[str]:
    """Backtests of long minute histories."""
    found = [
        (row["name"], f"{row['bars']:,}", figure(row["panel_mib"]), str(row["peak_mib"]), f"{row['bytes_per_bar']:.0f}",
         f"{row['seconds']:.1f}")
        for row in rows if row["workload"] == "memory"
    ]  # fmt: skip
    heads = ("backtest", "symbol-bars", "panel MiB", "peak MiB", "bytes a symbol-bar above the start", "s")
    return ["## Memory of a year of minute bars", "", *lines_of(heads, found)] if found else []


def installed(name: str) -> str:
    """Its version."""
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} absent"


def processor() -> str:
    """As the kernel names it."""
    try:
        found = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    except OSError:
        found = []
    return found[0] if found else platform.machine()


def page(rows: Sequence[Row]) -> str:
    """The whole of it."""
    loads = [row["load"] for row in rows if "load" in row]
    busy = f"; load average {min(loads):.1f} to {max(loads):.1f} during the runs" if loads else ""
    head = [
        "# Benchmarks",
        "",
        f"Made by `make bench` on {datetime.now(UTC):%Y-%m-%d}: {processor()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, {', '.join(map(installed, LIBRARIES))}{busy}.",
        "",
        "Every contestant is a process of its own and runs in turn with the others; figures are medians. What the workloads "
        "are stands in the scripts of `benchmarks/`.",
        "",
    ]
    parts = (goals(rows), cycles(rows), scaling(rows), memory_of_years(rows), contestants(rows), absences(rows))
    return "\n".join([*head, *(line for part in parts for line in part)]).rstrip() + "\n"


def main() -> None:
    """Read the lines, write the page."""
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    PAGE.write_text(page(rows))
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
