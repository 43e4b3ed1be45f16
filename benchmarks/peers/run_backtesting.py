"""backtesting.py in its own environment: `python run_backtesting.py sweep|class|trades DATA.npz`."""

from __future__ import annotations

import sys
import warnings
from importlib.metadata import version

import numpy as np
import pandas as pd
from measuring import measured, tell

warnings.filterwarnings("ignore")
import backtesting
from backtesting import Backtest, Strategy
from backtesting.lib import crossover

backtesting.backtesting._tqdm = lambda iterable, *_, **__: iterable
VERSION = version("backtesting")


def mean(values: np.ndarray, length: int) -> np.ndarray:
    """Moving average, by a running sum."""
    total = np.concatenate([[0.0], np.cumsum(np.asarray(values))])
    return np.concatenate([np.full(length - 1, np.nan), (total[length:] - total[:-length]) / length])


class Cross(Strategy):
    """The cross of two moving averages, long only."""

    fast, slow = 20, 50

    def init(self):
        self.first = self.I(mean, self.data.Close, self.fast, plot=False)
        self.second = self.I(mean, self.data.Close, self.slow, plot=False)

    def next(self):
        if crossover(self.first, self.second):
            self.buy(size=0.95)
        elif self.position and crossover(self.second, self.first):
            self.position.close()


def test_of(data: dict[str, np.ndarray], *, commission: float, at_close: bool) -> Backtest:
    """The bars made ready."""
    names = ("open", "high", "low", "close", "volume")
    frame = pd.DataFrame({name.title(): data[name] for name in names}, index=pd.to_datetime(data["time"]))
    return Backtest(frame, Cross, cash=1e12, commission=commission, trade_on_close=at_close, finalize_trades=False)


def sweep(data: dict[str, np.ndarray]) -> None:
    """A few pairs, one by one."""
    made, pairs = test_of(data, commission=5e-4, at_close=True), data["pairs"].tolist()[:4]
    run = lambda: [float(made.run(fast=a, slow=b)["Return [%]"]) / 100.0 for a, b in pairs]  # noqa: E731
    tell({"total_return": measured("backtesting.py", VERSION, len(pairs), "sets", run, runs=1)})


def by_class(data: dict[str, np.ndarray]) -> None:
    """One run of the class."""
    made = test_of(data, commission=5e-4, at_close=True)
    run = lambda: int(made.run()["# Trades"])  # noqa: E731
    tell({"trades": measured("backtesting.py class", VERSION, len(data["close"]), "bars", run, runs=1)})


def trades(data: dict[str, np.ndarray]) -> None:
    """Trades of one pair under both fill rules: entry bar, exit bar, entry price, exit price."""
    fast, slow = data["pairs"].tolist()[0]
    for rule in ("close", "next_open"):
        made = test_of(data, commission=0.0, at_close=rule == "close")
        kept = made.run(fast=fast, slow=slow)["_trades"].sort_values("EntryBar")
        columns = ["EntryBar", "ExitBar", "EntryPrice", "ExitPrice"]
        tell({"rule": rule, "version": VERSION, "trades": [list(map(float, row)) for row in kept[columns].to_numpy()]})


if __name__ == "__main__":
    {"sweep": sweep, "class": by_class, "trades": trades}[sys.argv[1]](dict(np.load(sys.argv[2])))
