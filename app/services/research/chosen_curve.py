"""How the chosen parameters would have done over all parts of the bars, beside buying and holding."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from app.backtest.compiled.evaluation import evaluate
from app.backtest.statistics.benchmark import buy_and_hold
from app.backtest.statistics.performance import drawdown_curve
from app.backtest.statistics.thinning import extremes
from app.domain.panel import Panel
from app.services.research.bench import ResearchBench, first_judged, setup_of
from app.services.research.request import ResearchRequest
from app.strategies.strategy import Strategy

CURVE_POINTS = 1_000
_BPS = 10_000


def chosen_curve(
    bench: ResearchBench, strategy: Strategy, panel: Panel, request: ResearchRequest, values: Mapping[str, float]
) -> list[dict[str, Any]]:
    """at, equity, drawdown (a magnitude), buy_and_hold (None where nothing could be bought), of the account of the research
    kernel at the end of each daily bar or day, at most CURVE_POINTS of them, the extremes among them. One run over all parts,
    as live trading would go on from one to the next, so not their returns joined."""
    found = evaluate(strategy, panel, [values], setup_of(request), start=first_judged(panel, request), stop=len(panel) - 1)
    curve = np.concatenate(([1.0], np.cumprod(1.0 + found.returns[0])))
    cost = (request.slippage_bps + request.commission_bps) / _BPS
    held = buy_and_hold(bench.bars(request), found.known_at.tolist(), cost_fraction=cost)
    under = drawdown_curve(curve)
    return [
        {
            "at": datetime.fromtimestamp(int(found.known_at[i - 1]), UTC).isoformat(),
            "equity": round(request.capital * float(curve[i]), 2),
            "drawdown": float(under[i]),
            "buy_and_hold": None if held is None else round(request.capital * float(held[i]), 2),
        }
        for i in extremes(curve, CURVE_POINTS).tolist()
        if i > 0
    ]
