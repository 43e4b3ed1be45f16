"""The figures of a backtest as people see them: label, form and meaning, the same in page, picture and terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.reports.text import FORMS, UNKNOWN


@dataclass(frozen=True, slots=True)
class Figure:
    """name: in `performance`. form: one of `text.FORMS`."""

    name: str
    label: str
    form: str
    meaning: str

    def of(self, performance: Mapping[str, Any]) -> str:
        """Its value as text; a dash where it is unknown or no number."""
        value = performance.get(self.name)
        return FORMS[self.form](value) if isinstance(value, int | float) else UNKNOWN


GROUPS: Mapping[str, tuple[Figure, ...]] = {
    "Return": (
        Figure("total_return", "Total return", "percent", "last equity over the capital, less one"),
        Figure("annualized_return", "Annualised return", "percent", "the yearly rate that compounds to it"),
        Figure("best_day", "Best day", "percent", "from one day's last value to the next day's"),
        Figure("worst_day", "Worst day", "percent", "from one day's last value to the next day's"),
        Figure("best_month", "Best month", "percent", "calendar month"),
        Figure("worst_month", "Worst month", "percent", "calendar month"),
    ),
    "Risk": (
        Figure("volatility", "Volatility", "percent", "sample deviation of the returns, a year"),
        Figure("max_drawdown", "Deepest drawdown", "percent", "largest fall below an earlier high"),
        Figure("drawdown_days", "Longest drawdown", "days", "from a high to the value that regains it, or to the end"),
        Figure("is_under_water", "Still under water", "yes", "whether the last value lies below an earlier one"),
        Figure("value_at_risk_95", "Value at risk, 95 %", "percent", "one day in twenty lost at least so much"),
        Figure("expected_shortfall_95", "Expected shortfall, 95 %", "percent", "mean loss of those days"),
        Figure("skewness", "Skewness", "number", "of the returns; below 0: rare large losses"),
        Figure("kurtosis", "Kurtosis", "number", "of the returns; 3 for a normal distribution"),
    ),
    "Return for risk": (
        Figure("sharpe_ratio", "Sharpe ratio", "number", "mean return over deviation, a year, risk-free rate zero"),
        Figure("sortino_ratio", "Sortino ratio", "number", "the same over the deviation of the losses"),
        Figure("calmar_ratio", "Calmar ratio", "number", "annualised return over the deepest drawdown"),
    ),
    "Beside the benchmark": (
        Figure("alpha", "Alpha", "percent", "return a year that the benchmark does not explain"),
        Figure("beta", "Beta", "number", "move for each move of the benchmark"),
        Figure("correlation", "Correlation", "number", "with the returns of the benchmark"),
    ),
    "Trades": (
        Figure("trades", "Closed trades", "whole", "from flat to flat in one symbol"),
        Figure("win_rate", "Win rate", "percent", "share of the trades with a profit, after commissions"),
        Figure("profit_factor", "Profit factor", "number", "sum of the profits over sum of the losses"),
        Figure("expectancy", "Expectancy", "money", "mean profit of a trade"),
        Figure("average_return", "Average trade", "percent", "mean return of a trade"),
        Figure("average_win", "Average win", "percent", "mean return of the trades that gained"),
        Figure("average_loss", "Average loss", "percent", "mean loss of the trades that lost"),
        Figure("average_holding_days", "Average holding time", "days", "from first buy to last sale"),
        Figure("open_positions", "Still open", "whole", "holdings at the end; in the equity, not among the trades"),
    ),
    "Activity and costs": (
        Figure("mean_exposure", "Mean exposure", "percent", "value of the holdings over equity"),
        Figure("max_exposure", "Largest exposure", "percent", "value of the holdings over equity"),
        Figure("time_in_market", "Time in the market", "percent", "share of the periods that ended with a holding"),
        Figure("turnover_per_year", "Turnover a year", "number", "half of what was traded, over the mean equity"),
        Figure("fills", "Fills", "whole", "executions"),
        Figure("commissions", "Commissions", "money", "paid"),
        Figure("slippage", "Slippage", "money", "lost to constant slippage and half spread"),
        Figure("cost_over_capital", "Costs over capital", "percent", "commissions and slippage"),
        Figure("cost_share", "Costs over gross profit", "percent", "of what would have been earned without them"),
    ),
}
HEADLINES = (
    "total_return",
    "annualized_return",
    "sharpe_ratio",
    "max_drawdown",
    "trades",
    "win_rate",
    "profit_factor",
    "cost_over_capital",
)
FIGURES: Mapping[str, Figure] = {figure.name: figure for group in GROUPS.values() for figure in group}
