"""vectorbt in its own environment: `python run_vectorbt.py sweep|trades DATA.npz`."""

from __future__ import annotations

import sys
from importlib.metadata import version

import numpy as np
import pandas as pd
import vectorbt as vbt
from measuring import measured, tell

VERSION = version("vectorbt")
COLUMNS = 10  # sets at a time: measured faster than 50, see docs


def events(lines: dict[int, np.ndarray], pairs: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Crosses up and crosses down, a column a pair."""
    fast, slow = (np.stack([lines[pair[k]] for pair in pairs], axis=1) for k in (0, 1))
    above, below = fast > slow, fast < slow
    entries, exits = np.zeros_like(above), np.zeros_like(above)
    entries[1:], exits[1:] = above[1:] & ~above[:-1] & below[:-1], below[1:] & above[:-1]
    return entries, exits


def means(close: np.ndarray, lengths: set[int]) -> dict[int, np.ndarray]:
    """Moving averages by length."""
    total = np.concatenate([[0.0], np.cumsum(close)])
    return {n: np.concatenate([np.full(n - 1, np.nan), (total[n:] - total[:-n]) / n]) for n in lengths}


def sweep(data: dict[str, np.ndarray]) -> None:
    """All pairs, a few columns at a time."""
    close = pd.Series(data["close"], index=pd.to_datetime(data["time"]))
    pairs = data["pairs"].tolist()

    def run() -> list[list[float]]:
        lines, found = means(data["close"], {n for pair in pairs for n in pair}), []
        for start in range(0, len(pairs), COLUMNS):
            entries, exits = events(lines, pairs[start : start + COLUMNS])
            folio = vbt.Portfolio.from_signals(
                close, entries, exits, size=0.95, size_type="percent", fees=5e-4, init_cash=1.0, freq="1min"
            )
            found += np.stack([folio.total_return(), folio.sharpe_ratio(), folio.max_drawdown()], axis=1).tolist()
        return found

    answer = measured("vectorbt", VERSION, len(pairs), "sets", run)
    tell({"total_return": [one[0] for one in answer], "max_drawdown": [-one[2] for one in answer]})


def trades(data: dict[str, np.ndarray]) -> None:
    """Trades of one pair under both fill rules: entry bar, exit bar, entry price, exit price."""
    index = pd.to_datetime(data["time"])
    close, opened = pd.Series(data["close"], index=index), pd.Series(data["open"], index=index)
    pairs = data["pairs"].tolist()[:1]
    entries, exits = (one[:, 0] for one in events(means(data["close"], set(pairs[0])), pairs))
    for rule in ("close", "next_open"):
        into, out, price = entries, exits, close
        if rule == "next_open":
            into, out, price = np.roll(entries, 1), np.roll(exits, 1), opened
            into[0] = out[0] = False
        folio = vbt.Portfolio.from_signals(
            close, into, out, price=price, size=0.95, size_type="percent", init_cash=1e9, freq="1D"
        )
        kept = folio.trades.records
        kept = kept[kept["status"] == 1]
        columns = ("entry_idx", "exit_idx", "entry_price", "exit_price")
        tell({"rule": rule, "version": VERSION, "trades": [list(map(float, row)) for row in kept[list(columns)].to_numpy()]})


if __name__ == "__main__":
    {"sweep": sweep, "trades": trades}[sys.argv[1]](dict(np.load(sys.argv[2])))
