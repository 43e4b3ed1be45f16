"""How fast the catalog computes columns and scores: one symbol's minute bars, and a universe of days.

    python benchmarks/strategies.py [--bars 130000] [--symbols 500 --days 1260]

CPU milliseconds, the median of five runs after a first one, and the most memory held at once beside the bars themselves.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc

from app.domain.panel import Panel
from app.strategies.catalog import CATALOG
from app.strategies.class_strategy import Bar, class_strategy
from app.strategies.laws import random_panel
from app.strategies.strategy import Strategy, checked, evaluated

RUNS = 5


class Mean:
    """A plain class: the side of an exponential mean."""

    name = "plain_class"

    def __init__(self) -> None:
        self.mean = 0.0

    def on_bar(self, bar: Bar, position: float) -> float:  # noqa: ARG002
        self.mean += (bar.close - self.mean) * 0.1
        return 1.0 if bar.close > self.mean else -1.0

    @staticmethod
    def memory(values: object) -> int:  # noqa: ARG004
        return 400


def measured(strategy: Strategy, panel: Panel) -> tuple[float, float]:
    """CPU ms (median) and peak MiB of one evaluation."""
    values = checked(strategy, {})
    evaluated(strategy, panel, values)
    spent = []
    for _ in range(RUNS):
        began = time.process_time()
        evaluated(strategy, panel, values)
        spent.append((time.process_time() - began) * 1e3)
    tracemalloc.start()
    evaluated(strategy, panel, values)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return statistics.median(spent), peak


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--bars", type=int, default=130_000)
    arguments.add_argument("--symbols", type=int, default=500)
    arguments.add_argument("--days", type=int, default=1_260)
    asked = arguments.parse_args()
    one = random_panel(1, asked.bars, step=60, deviation=0.0005)
    many = random_panel(asked.symbols, asked.days, step=86_400)
    print(f"| strategy | 1 x {asked.bars:,} bars: ms | MiB | {asked.symbols} x {asked.days:,}: ms | MiB |")
    print("| --- | --- | --- | --- | --- |")
    for strategy in (*CATALOG.values(), class_strategy(Mean)):
        (ms, mib), (many_ms, many_mib) = measured(strategy, one), measured(strategy, many)
        print(f"| {strategy.name} | {ms:.1f} | {mib:.0f} | {many_ms:.0f} | {many_mib:.0f} |")


if __name__ == "__main__":
    main()
