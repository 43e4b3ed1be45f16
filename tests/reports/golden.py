"""Writes golden.json: what quantstats says of a year of returns and of forty trades. It needs an environment with quantstats
(too large for the judges that every test run installs): python tests/reports/golden.py"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import quantstats
from quantstats import stats

rng = np.random.default_rng(2026)
days = pd.bdate_range("2023-01-02", periods=260)
market = pd.Series(np.round(0.0004 + 0.011 * rng.standard_t(4, 260), 9), index=days)
ours = pd.Series(np.round(0.5 * market + 0.006 * rng.standard_t(5, 260), 9), index=days)
profits = pd.Series(np.round(25 + 300 * rng.standard_t(3, 40), 2))
details = stats.drawdown_details(stats.to_drawdown_series(ours))
plain = {"prepare_returns": False}
greeks = stats.greeks(ours, market, periods=252, **plain)
told = {
    "total_return": stats.comp(ours),
    "volatility": stats.volatility(ours, periods=252, **plain),
    "sharpe_ratio": stats.sharpe(ours, periods=252),
    "sortino_ratio": stats.sortino(ours, periods=252),
    "max_drawdown": -stats.max_drawdown(ours),
    "alpha": greeks["alpha"],
    "beta": greeks["beta"],
    "best_day": stats.best(ours, **plain),
    "worst_day": stats.worst(ours, **plain),
    "worst_month": stats.worst(ours, aggregate="ME", **plain),
    "best_month": stats.best(ours, aggregate="ME", **plain),
    "longest_drawdown": {"start": details.loc[details["days"].idxmax(), "start"], "days": int(details["days"].max())},
    "win_rate": stats.win_rate(profits, **plain),
    "profit_factor": stats.profit_factor(profits, **plain),
    "average_win": stats.avg_win(profits, **plain),
    "average_loss": -stats.avg_loss(profits, **plain),
}
golden = {
    "source": f"quantstats {quantstats.__version__}",
    "days": [str(day.date()) for day in days],
    "returns": ours.tolist(),
    "market": market.tolist(),
    "profits": profits.tolist(),
    "told": {name: value if isinstance(value, dict) else float(value) for name, value in told.items()},
}
Path(__file__).with_name("golden.json").write_text(json.dumps(golden, indent=None) + "\n")
