"""Stored backtests side by side, and in which respects they are no fair comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.domain.errors import InvalidInput
from app.domain.records import BacktestRecord

FEWEST, MOST = 2, 20
# Of these a difference makes figures incomparable; other parameters are what is being compared.
_FAIRNESS = {
    "dataset": "they were run on different data",
    "span": "they cover different spans",
    "initial_capital": "they began with different capital",
    "year": "they are annualised by different years",
}
_COSTS = ("slippage_bps", "half_spread_bps", "impact_bps", "commission_bps", "commission_per_share", "minimum_commission")


def compare(backtests: Sequence[BacktestRecord]) -> dict[str, Any]:
    """backtests: one entry each, in the order given, with figures and verdict; differences: the parameters that are not
    the same in all, by name, a value each; warnings: why the figures may not be compared as they stand. Raises InvalidInput
    for fewer than 2 and more than 20."""
    if not FEWEST <= len(backtests) <= MOST:
        raise InvalidInput(f"name {FEWEST} to {MOST} different backtests to compare, not {len(backtests)}")
    return {
        "backtests": [_entry(backtest) for backtest in backtests],
        "differences": _differences([backtest.params for backtest in backtests]),
        "warnings": _warnings(backtests),
    }


def _entry(backtest: BacktestRecord) -> dict[str, Any]:
    result = backtest.result or {}
    verdict = result.get("verdict")
    return {
        "backtest_id": backtest.backtest_id,
        "created_at": backtest.created_at,
        "strategy": backtest.params.get("strategy"),
        "span": result.get("span"),
        "verdict": verdict.get("level") if isinstance(verdict, Mapping) else None,
        "performance": backtest.performance,
    }


def _differences(params: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for one in params for name in one)
    columns = {name: [one.get(name) for one in params] for name in names}
    return {name: values for name, values in columns.items() if any(value != values[0] for value in values)}


def _warnings(backtests: Sequence[BacktestRecord]) -> list[str]:
    found: dict[str, list[Any]] = {
        "dataset": [(backtest.result or {}).get("dataset") for backtest in backtests],
        "span": [_span(backtest) for backtest in backtests],
        "initial_capital": [backtest.performance.get("initial_capital") for backtest in backtests],
        "year": [backtest.performance.get("year") for backtest in backtests],
    }
    warnings = [said for name, said in _FAIRNESS.items() if any(value != found[name][0] for value in found[name])]
    costs = [_costs((backtest.result or {}).get("assumptions", {})) for backtest in backtests]
    if any(row != costs[0] for row in costs):
        warnings.append("they assume different costs")
    return warnings


def _span(backtest: BacktestRecord) -> list[Any]:
    span = (backtest.result or {}).get("span") or {}
    return [span.get(name) for name in ("start", "end")]


def _costs(assumptions: Mapping[str, Any]) -> list[float]:
    return [float(assumptions.get(name, assumptions.get(f"cost_{name}")) or 0.0) for name in _COSTS]
