"""An SMA cross on real bars trades the same as in backtesting.py and vectorbt, under both fill rules; fails loudly otherwise.

`python benchmarks/same_trades.py`: SPY daily bars and BTC/USDT minute bars of the market data beside the project
(ALPHA_TRADER_DATA). No costs, no protective legs, every peer with its own moving averages.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from side_by_side import peer
from single import panel_of

from app.backtest.compiled.instrument import FillRule, Setup, simulate
from app.engine.costs import FREE
from app.strategies.sma_cross import SmaCross
from tests.real_data import DIRECTORY

CASES = (
    ("SPY daily", DIRECTORY / "equities_daily" / "watchlist_daily.parquet", "SPY", (10, 30)),
    ("SPY daily", DIRECTORY / "equities_daily" / "watchlist_daily.parquet", "SPY", (50, 200)),
    ("BTC/USDT 1 min", DIRECTORY / "crypto" / "binance_spot_1m.parquet", "BTC/USDT", (20, 50)),
    ("BTC/USDT 1 min", DIRECTORY / "crypto" / "binance_spot_1m.parquet", "BTC/USDT", (60, 240)),
)
PRICE_TOLERANCE = 1e-9  # relative


def bars_of(path: Path, symbol: str) -> dict[str, np.ndarray]:
    """One symbol's bars of a file, oldest first."""
    frame = pd.read_parquet(path)
    frame = frame[frame["symbol"] == symbol]
    time = frame["timestamp"].to_numpy("datetime64[ns]").astype(np.int64)
    return {"time": time, **{name: frame[name].to_numpy(np.float64) for name in ("open", "high", "low", "close", "volume")}}


def ours(bars: dict[str, np.ndarray], pair: tuple[int, int], rule: FillRule) -> np.ndarray:
    """Closed trades: entry bar, exit bar, entry price, exit price."""
    setup = Setup(costs=FREE, fill=rule)
    log = simulate(SmaCross(), panel_of(bars), {"fast": pair[0], "slow": pair[1]}, setup, curve=False).trades
    rows = np.stack([log.entry_bar, log.exit_bar, log.entry_price, log.exit_price], axis=1)
    return rows[log.exit_bar >= 0]


def difference(one: np.ndarray, other: np.ndarray) -> str:
    """Where two lists of trades part, empty if nowhere."""
    for number, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        if (mine[:2] != theirs[:2]).any() or not np.allclose(mine[2:], theirs[2:], rtol=PRICE_TOLERANCE, atol=0.0):
            return f"trade {number}: product {mine.tolist()}, peer {theirs.tolist()}"
    return "" if len(one) == len(other) else f"product has {len(one)} trades, peer {len(other)}"


def main() -> None:
    """Every case, peer and rule, a line each."""
    faults = 0
    for name, path, symbol, pair in CASES:
        bars = bars_of(path, symbol)
        with tempfile.TemporaryDirectory() as place:
            data = Path(place) / "data.npz"
            np.savez(data, pairs=np.array([pair]), **bars)
            for contestant in ("backtesting", "vectorbt"):
                for told in peer(contestant, "trades", data):
                    mine = ours(bars, pair, FillRule(told["rule"]))
                    theirs = np.array(told["trades"]).reshape(-1, 4)
                    apart = difference(mine, theirs)
                    faults += bool(apart)
                    verdict = apart or f"the same {len(mine)} trades"
                    print(f"{name}, SMA {pair[0]}/{pair[1]}, {told['rule']}, {contestant} {told['version']}: {verdict}")
    if faults:
        sys.exit(f"{faults} comparisons differ")


if __name__ == "__main__":
    main()
