"""W2: one strategy, SMA 20/50, on 130,000 and 1,000,000 minute bars, compiled and as a plain Python class; beside the peers.

`python benchmarks/single.py [--rounds 3] [--out results.jsonl]`. The product's runs have a stop, a target, a trade log and a
curve of every bar; "from bars" makes the moving averages and the votes too, as the peers do.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import deque
from pathlib import Path

import numpy as np
from side_by_side import Message, merged, peer, present, random_walk, table, told

from app.domain.exits import ExitPolicy
from app.domain.panel import PRICES, Panel
from app.strategies.strategy import Parameter


def panel_of(data: dict[str, np.ndarray]) -> Panel:
    """One symbol's bars as the product takes them."""
    at = data["time"] // 1_000_000_000
    prices = {name: data[name][None, :] for name in PRICES}
    return Panel(symbols=("X",), timeframe="1Min", timestamp=at, known_at=at + 60, **prices)


class PlainCross:
    """SMA cross as a person would write it: running sums, one bar after the other."""

    name = "plain_cross"
    parameters = (
        Parameter(name="fast", default=20, low=1, high=1_000, doc="bars"),
        Parameter(name="slow", default=50, low=2, high=1_000, doc="bars"),
    )
    exits = ExitPolicy()

    def __init__(self, fast, slow):
        """Nothing seen yet."""
        self.fast, self.slow = deque([0.0] * fast, fast), deque([0.0] * slow, slow)
        self.fast_sum = self.slow_sum = 0.0
        self.ratio, self.wait, self.above = slow / fast, slow, None

    def on_bar(self, bar, position):  # noqa: ARG002
        """+1 on the bar of a cross up, -1 on that of a cross down."""
        close = bar.close
        self.fast_sum += close - self.fast[0]
        self.slow_sum += close - self.slow[0]
        self.fast.append(close)
        self.slow.append(close)
        if self.wait > 1:
            self.wait -= 1
            return None
        above, before = self.fast_sum * self.ratio > self.slow_sum, self.above
        self.above = above
        if above is before or before is None:
            return 0.0
        return 1.0 if above else -1.0

    @staticmethod
    def memory(values):
        """Its running sums remember every bar, but for the rounding they forget all beyond the slow mean."""
        return values["slow"] + 1


def product(data: Path, work: str) -> None:
    """A contestant of the product, in a process of its own."""
    from measuring import measured, tell

    from app.backtest.compiled.instrument import Setup, as_columns, instrument, run, simulate, votes_of
    from app.strategies.class_strategy import class_strategy
    from app.strategies.columns import crosses
    from app.strategies.sma_cross import SmaCross

    panel, values = panel_of(dict(np.load(data))), {"fast": 20, "slow": 50}
    bars = len(panel)
    setup = Setup(stop_loss_fraction=0.05, take_profit_fraction=0.10)
    if work == "class":
        strategy = class_strategy(PlainCross)
        found = measured("product class", "product", bars, "bars", lambda: simulate(strategy, panel, values, setup), runs=3)
    else:
        found = measured(
            "product from bars", "product", bars, "bars", lambda: simulate(SmaCross(), panel, values, setup), runs=9
        )
        market = instrument(panel)
        fast, slow = (line.compute(as_columns(market)) for line in SmaCross().lines(values))
        votes = votes_of(market, crosses(fast, slow), 0.5)
        measured("product, votes given", "product", bars, "bars", lambda: run(market, votes, setup), runs=9)
    tell({"trades": len(found.trades)})


def main() -> None:
    """Rounds of all contestants and a table for each number of bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bars", type=int, nargs="*", default=[130_000, 1_000_000])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--work", default="single", help=argparse.SUPPRESS)
    wish = parser.parse_args()
    if wish.here:
        product(wish.here, wish.work)
        return
    for bars in wish.bars:
        with tempfile.TemporaryDirectory() as place:
            data = Path(place) / "data.npz"
            np.savez(data, **random_walk(bars))
            for work, rivals in (("single", ("raptorbt",)), ("class", ("raptorbt", "backtesting"))):
                peers = present(rivals, f"W2 {work} {bars:,} bars", wish.out)
                figures: dict[str, list[Message]] = {}
                for _ in range(wish.rounds):
                    messages = told([sys.executable, __file__, "--here", data, "--work", work])
                    messages += [one for name in peers for one in peer(name, work, data)]
                    for one in messages:
                        if "cpu" in one:
                            figures.setdefault(one["name"], []).append(one)
                table(f"W2 {work} {bars:,} bars", [merged(rounds) for rounds in figures.values()], wish.out)


if __name__ == "__main__":
    main()
