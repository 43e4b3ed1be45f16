"""raptorbt in its own environment: `python run_raptorbt.py sweep|single|class|portfolio DATA.npz`."""

from __future__ import annotations

import sys
from importlib.metadata import version

import numpy as np
import raptorbt
from measuring import measured, tell

VERSION = version("raptorbt")


def means(close: np.ndarray, lengths: set[int]) -> dict[int, np.ndarray]:
    """Moving averages by length."""
    total = np.concatenate([[0.0], np.cumsum(close)])
    return {n: np.concatenate([np.full(n - 1, np.nan), (total[n:] - total[:-n]) / n]) for n in lengths}


def events(fast: np.ndarray, slow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Crosses up and crosses down."""
    above, below = fast > slow, fast < slow
    entries, exits = np.zeros(len(fast), bool), np.zeros(len(fast), bool)
    entries[1:], exits[1:] = above[1:] & below[:-1], below[1:] & above[:-1]
    return entries, exits


def sweep(data: dict[str, np.ndarray], config: raptorbt.BacktestConfig) -> None:
    """All pairs, batch by batch."""
    bars, pairs, batch = prices(data), data["pairs"].tolist(), 50

    def run() -> list[float]:
        lines, found = means(data["close"], {n for pair in pairs for n in pair}), []
        for start in range(0, len(pairs), batch):
            items = []
            for number, (fast, slow) in enumerate(pairs[start : start + batch]):
                entries, exits = events(lines[fast], lines[slow])
                items.append(
                    raptorbt.BatchSingleItem(
                        item_id=str(number), entries=entries, exits=exits, direction=1, weight=0.95, symbol="X"
                    )
                )
            answers = raptorbt.batch_single_backtest(data["time"], *bars, items, config)
            found += [one.metrics.total_return_pct / 100.0 for _, one in answers]
        return found

    tell({"total_return": measured("raptorbt", VERSION, len(pairs), "sets", run)})


def single(data: dict[str, np.ndarray], config: raptorbt.BacktestConfig) -> None:
    """One pair, its signals by numpy."""
    bars = prices(data)

    def run() -> int:
        lines = means(data["close"], {20, 50})
        entries, exits = events(lines[20], lines[50])
        answer = raptorbt.run_single_backtest(data["time"], *bars, entries, exits, 1, 0.95, "X", config)
        return int(answer.metrics.total_trades)

    tell({"trades": measured("raptorbt arrays", VERSION, len(data["close"]), "bars", run)})


def by_class(data: dict[str, np.ndarray], config: raptorbt.BacktestConfig) -> None:
    """One pair as a class that is called at each bar."""

    class Cross(raptorbt.Strategy):
        def on_start(self, ctx):
            self.fast, self.slow = raptorbt.sma(ctx.close, 20), raptorbt.sma(ctx.close, 50)

        def on_bar(self, ctx):
            i = ctx.idx
            if i < 51:
                return
            now, before = self.fast[i] > self.slow[i], self.fast[i - 1] > self.slow[i - 1]
            if now and not before and ctx.position is None:
                self.enter()
            elif before and not now and ctx.position is not None:
                self.close_position()

    def run() -> int:
        answer = raptorbt.run_strategy_backtest(Cross(), data["time"], *prices(data), symbol="X", config=config)
        return int(answer.metrics.total_trades)

    tell({"trades": measured("raptorbt class", VERSION, len(data["close"]), "bars", run, runs=1)})


def portfolio(data: dict[str, np.ndarray], config: raptorbt.BacktestConfig) -> None:
    """Symbols that enter and leave the picks, shape (n_symbols, n_bars); stops and targets, no halts."""
    picked = data["picks"]
    before = np.hstack([np.zeros((len(picked), 1), bool), picked[:, :-1]])
    rows = [np.ascontiguousarray(one) for one in (picked & ~before, ~picked & before)]
    columns = [np.ascontiguousarray(one) for one in prices(data)]
    items = [
        (data["time"], *(column[i] for column in columns), rows[0][i], rows[1][i], 1, 1.0, f"S{i}") for i in range(len(picked))
    ]
    config.set_fixed_stop(0.05)
    config.set_fixed_target(0.10)
    measured("raptorbt", VERSION, picked.size, "symbol-bars", lambda: raptorbt.run_portfolio_backtest(items, config), runs=15)


def prices(data: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Columns in the order of the library."""
    return [data[name] for name in ("open", "high", "low", "close", "volume")]


if __name__ == "__main__":
    given = dict(np.load(sys.argv[2]))
    works = {"sweep": sweep, "single": single, "class": by_class, "portfolio": portfolio}
    more = {"max_positions": 7} if sys.argv[1] == "portfolio" else {}
    works[sys.argv[1]](given, raptorbt.BacktestConfig(initial_capital=1e6, fees=5e-4, **more))
