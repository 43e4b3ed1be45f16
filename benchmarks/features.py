"""W4: the features of 32 symbols x 1,260 daily bars, bars in and matrix out, beside a plain loop over TA-Lib.

`python benchmarks/features.py [--rounds 3] [--symbols 32] [--out results.jsonl]`. Two loops of TA-Lib: one over forty of the
usual indicators, one over our own columns as far as TA-Lib has them. Theirs remember all bars before, ours the last 120 alone,
so that a row computed live equals the row in history. And the increment: the newest row of all symbols, as a cycle needs it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import Message, merged, random_walk, record, table, told

DAYS = 1_260


def market(symbols: int) -> list[dict[str, np.ndarray]]:
    """Daily bars of some symbols."""
    return [random_walk(DAYS, seed=seed, sigma=0.016) for seed in range(symbols)]


def series(bars: dict[str, np.ndarray]) -> Any:
    """The same as the product's bars."""
    from app.domain.bar import DAILY, BarSeries

    labels = bars["time"] // 1_000_000_000 // 60 * 86_400
    prices = {name: bars[name] for name in ("open", "high", "low", "close", "volume")}
    return BarSeries(symbol="S", timeframe=DAILY, timestamp=labels, known_at=labels + 57_600, **prices)


def forty(bars: dict[str, np.ndarray]) -> np.ndarray:
    """Forty of the usual indicators, (40, n_bars)."""
    import talib as t

    h, lo, c, v = (bars[name] for name in ("high", "low", "close", "volume"))
    rows = [t.ROCP(c, span) for span in (1, 2, 3, 5, 10, 20)]
    change = np.nan_to_num(rows[0])
    mean, width = t.SMA(change, 20), t.STDDEV(change, 20)
    cubes = t.SMA(change**3, 20) - 3 * mean * t.SMA(change * change, 20) + 2 * mean**3
    rows += [t.RSI(c, 14), t.RSI(c, 7), *t.MACD(c), *t.BBANDS(c, 20), t.ATR(h, lo, c), t.NATR(h, lo, c), t.ADX(h, lo, c)]
    rows += [t.PLUS_DI(h, lo, c), t.MINUS_DI(h, lo, c), t.OBV(c, v), t.ROC(c, 10), t.ROC(c, 20), t.MFI(h, lo, c, v)]
    rows += [*t.STOCHF(h, lo, c, 14, 3), t.CCI(h, lo, c, 20), t.WILLR(h, lo, c), t.SMA(c, 10), t.SMA(c, 20), t.SMA(c, 50)]
    rows += [t.EMA(c, 12), t.EMA(c, 26), t.STDDEV(change, 10), width, cubes / width**3, t.MAX(h, 20), t.MIN(lo, 20)]
    rows += [t.MOM(c, 10), t.TRIX(c, 15), v / t.SMA(v, 20)]
    return np.stack(rows)


def ours_by_talib(bars: dict[str, np.ndarray]) -> np.ndarray:
    """Our own columns by TA-Lib, (n_bars, 35)."""
    import talib as t

    o, h, lo, c, v = (bars[name] for name in ("open", "high", "low", "close", "volume"))
    rows = [t.ROCP(c, span) for span in (1, 2, 3, 5, 10, 20, 60, 119)]
    change = np.nan_to_num(rows[0])
    spreads = [t.STDDEV(change, length) for length in (5, 20, 60)]
    rows += [*spreads, *(c / t.MAX(h, n) - 1 for n in (20, 60, 120)), *(c / t.MIN(lo, n) - 1 for n in (20, 60, 120))]
    before = np.concatenate(([np.nan], c[:-1]))
    rows += [o / before - 1, c / o - 1, (h - lo) / c, (c - lo) / (h - lo), change / spreads[1], spreads[0] / spreads[2]]
    above, middle, _ = t.BBANDS(c, 20)
    rows += [(c - middle) / (above - middle), 2 * (above - middle) / middle]
    rows += [(v - t.SMA(v, 20)) / t.STDDEV(v, 20), (v - t.SMA(v, 60)) / t.STDDEV(v, 60), v / t.SMA(v, 20) - 1]
    line, _, difference = t.MACD(c)
    rows += [np.zeros(len(c)), t.RSI(c, 5), t.RSI(c, 14), line / c, difference / c, t.ATR(h, lo, c) / c, t.ADX(h, lo, c)]
    return np.column_stack(rows)


def contestants(symbols: int) -> dict[str, tuple[str, float, str, Callable[[], Any]]]:
    """(version, work, unit, run) of each."""
    import talib

    from app.learning.features import feature_matrix, feature_rows

    raw = market(symbols)
    bars = [series(one) for one in raw]
    work = float(symbols * DAYS)
    return {
        "product": ("product", work, "symbol-bars", lambda: [feature_matrix(one) for one in bars]),
        "TA-Lib, 40 usual ones": (talib.__version__, work, "symbol-bars", lambda: [forty(one) for one in raw]),
        "TA-Lib, our columns": (talib.__version__, work, "symbol-bars", lambda: [ours_by_talib(one) for one in raw]),
        "increment": ("product", 1.0, "increments", lambda: feature_rows(bars)),
    }


def main() -> None:
    """Rounds of all contestants, and a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--symbols", type=int, default=32)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    wish = parser.parse_args()
    if wish.only:
        from measuring import measured

        version, work, unit, run = contestants(wish.symbols)[wish.only]
        measured(wish.only, version, work, unit, run, runs=15)
        return
    names = ("product", "TA-Lib, 40 usual ones", "TA-Lib, our columns", "increment")
    figures: dict[str, list[Message]] = {name: [] for name in names}
    for _ in range(wish.rounds):
        for name in names:
            figures[name] += told([sys.executable, __file__, "--only", name, "--symbols", str(wish.symbols)])
    rows = {name: merged(rounds) for name, rounds in figures.items()}
    newest = rows.pop("increment")
    table(f"W4, {wish.symbols} symbols", list(rows.values()), wish.out)
    record([newest | {"workload": f"W4 newest row, {wish.symbols} symbols"}], wish.out)
    print(f"the newest row of all symbols: {1_000 / newest['per_cpu_second']:.2f} ms")


if __name__ == "__main__":
    main()
