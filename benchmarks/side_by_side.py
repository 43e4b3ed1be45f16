"""The product and its peers on the same work: each contestant a process of its own, in turn, several rounds; medians."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "peers")]

from environments import python_of

Message = dict[str, Any]


def random_walk(bars: int, seed: int = 7, sigma: float = 8e-4) -> dict[str, np.ndarray]:
    """Minute bars of a geometric random walk that open where the one before closed. time: nanoseconds since 1970."""
    draw = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(sigma * draw.standard_normal(bars)))
    opened = np.concatenate([[100.0], close[:-1]])
    above, below = (np.abs(draw.standard_normal(bars)) * sigma / 2 for _ in range(2))
    return {
        "time": 1_640_995_200_000_000_000 + 60_000_000_000 * np.arange(bars, dtype=np.int64),
        "open": opened,
        "high": np.maximum(opened, close) * (1 + above),
        "low": np.minimum(opened, close) * (1 - below),
        "close": close,
        "volume": np.exp(draw.normal(8.0, 0.5, bars)),
    }


def told(command: Sequence[str | Path]) -> list[Message]:
    """The lines of JSON that a contestant printed. One that fails says why and takes no part."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}  # our cache is no peer's
    environment = inherited | {"PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE / 'peers'}"}
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command[1:3]))} failed:\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def peer(name: str, work: str, data: Path) -> list[Message]:
    """What a peer tells about a piece of work."""
    return told([python_of(name), HERE / "peers" / f"run_{name}.py", work, data])


def present(names: Sequence[str], workload: str, out: Path | None) -> list[str]:
    """Those of the peers that can be had here; of the others a line says why they take no part."""
    found = []
    for name in names:
        try:
            subprocess.run([python_of(name), "-c", ""], check=True, capture_output=True)
            found.append(name)
        except (OSError, subprocess.CalledProcessError) as fault:
            why = f"its environment cannot be made: {type(fault).__name__}"
            print(f"{workload}: {name} takes no part, {why}", file=sys.stderr)
            record([{"workload": workload, "name": name, "absent": why}], out)
    return found


def record(rows: Sequence[Message], out: Path | None) -> None:
    """Lines of JSON to `out`."""
    if out is not None:
        with out.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def merged(rounds: Sequence[Message]) -> Message:
    """Medians over all runs of one contestant."""
    cpu, wall = ([second for one in rounds for second in one[name]] for name in ("cpu", "wall"))
    first = rounds[0]
    return {
        "name": first["name"],
        "version": first["version"],
        "unit": first["unit"],
        "per_cpu_second": first["work"] / statistics.median(cpu),
        "per_second": first["work"] / statistics.median(wall),
        "best_per_second": first["work"] / min(wall),
        "runs": len(cpu),
        "peak_mib": max(one["peak_mib"] for one in rounds),
    }


def table(workload: str, rows: Sequence[Message], out: Path | None) -> None:
    """Print the contestants, the first being the product, with the ratio to the best of the others; JSON lines to `out`."""
    load = os.getloadavg()[0]
    print(f"\n{workload} (load average {load:.1f} on {os.cpu_count()} cores)")
    print(f"{'':28} {'version':9} {'per CPU second':>16} {'per second':>14} {'runs':>5} {'peak MiB':>9} {'ratio':>8}")
    best = max((row["per_cpu_second"] for row in rows if row["version"] != "product"), default=float("nan"))
    for row in rows:
        row |= {"workload": workload, "ratio": row["per_cpu_second"] / best, "load": load}
        print(
            f"{row['name']:28} {row['version']:9} {row['per_cpu_second']:16,.1f} {row['per_second']:14,.1f} {row['runs']:5}"
            f" {row['peak_mib']:9} {row['ratio']:8.2f}"
        )
    record(rows, out)
