"""The result as JSON: complete, bounded, true to the outcome."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from app.backtest.outcome import figures
from app.services.backtests.result import CURVE_POINTS, MOST_TRADES, PRICE_POINTS, result_of
from tests.reports.made import FIRST, VERDICT, outcome_of, stored


def test_it_is_json_and_has_every_part() -> None:
    outcome, bars = outcome_of()
    result = result_of(outcome, bars=bars, assumptions={"slippage_bps": 2.0}, dataset="d", verdict=VERDICT)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["verdict"] == VERDICT and result["dataset"] == "d" and result["status"] == "completed"
    assert len(result["equity_curve"]) == 300 == result["thinned"]["equity_curve"]["of"]
    assert len(result["trades"]) == len(outcome.trips) == result["performance"]["trades"]
    assert sum(row["profit"] for row in result["by_symbol"]) == pytest.approx(sum(t["profit"] for t in result["trades"]))
    assert {row["reason"] for row in result["by_exit_reason"]} == {"stop_loss", "sell_signal"}
    assert set(result["prices"]) == {"AAPL", "BTC/USD"}
    assert result["benchmark"]["buy_and_hold"] is None and result["benchmark"]["SPY"]["volatility"] > 0


def test_the_parts_agree_with_each_other() -> None:
    outcome, bars = outcome_of()
    result = result_of(outcome, bars=bars, assumptions={})
    told, curve = result["performance"], result["equity_curve"]
    assert max(point["drawdown"] for point in curve) == pytest.approx(told["max_drawdown"])
    compounded = np.prod([1 + row["return"] for row in result["monthly"]]) - 1
    assert compounded == pytest.approx(told["total_return"])
    assert min(row["return"] for row in result["monthly"]) == told["worst_month"]
    assert sum(result["returns_histogram"]["counts"]) == 300
    assert told["costs"] == pytest.approx(told["commissions"] + told["slippage"])
    assert told["cost_over_capital"] == pytest.approx(told["costs"] / 1e5)
    assert told["cost_share"] == pytest.approx(told["costs"] / (told["final_equity"] - 1e5 + told["costs"]), rel=1e-6)
    for trade in result["trades"]:
        assert trade["adverse"] <= min(0.0, trade["exit_price"] / trade["entry_price"] - 1) + 1e-12
        assert trade["favourable"] >= max(0.0, trade["exit_price"] / trade["entry_price"] - 1) - 1e-12
        assert trade["r_multiple"] == pytest.approx(trade["profit"] / (trade["quantity"] * trade["entry_price"] * 0.05))
        assert trade["holding_days"] == 3 and trade["entry_reason"] == "buy_signal"


def test_long_results_are_bounded_and_their_figures_are_those_of_the_whole() -> None:
    outcome, bars = outcome_of(60_000)
    outcome = replace(outcome, trips=list(outcome.trips) * 3, continuous=True)
    result = result_of(outcome, bars=bars, assumptions={})
    assert len(result["equity_curve"]) <= CURVE_POINTS and len(result["trades"]) == MOST_TRADES
    assert all(len(prices["close"]) <= PRICE_POINTS for prices in result["prices"].values())
    assert result["thinned"] == {
        "equity_curve": {"kept": len(result["equity_curve"]), "of": 60_000},
        "trades": {"kept": MOST_TRADES, "of": len(outcome.trips)},
    }
    told = result["performance"]
    assert told == figures(outcome) and told["observations"] == 60_000
    equities = [point["equity"] for point in result["equity_curve"]]
    assert max(equities) == pytest.approx(outcome.equity.max(), abs=0.01)
    assert min(equities) == pytest.approx(outcome.equity.min(), abs=0.01)
    assert max(point["drawdown"] for point in result["equity_curve"]) == pytest.approx(told["max_drawdown"])
    smallest_kept = min(abs(trade["profit"]) for trade in result["trades"])
    assert smallest_kept >= sorted(abs(float(t.profit)) for t in outcome.trips)[-MOST_TRADES] - 0.01
    closed = [trade["closed_at"] for trade in result["trades"]]
    assert len(json.dumps(result)) < 4e6 and len(closed) == MOST_TRADES


def test_a_backtest_that_did_nothing() -> None:
    nothing = {"trips": [], "fills": 0, "traded_value": 0.0, "commissions": 0.0, "slippage": None, "benchmarks": {}}
    outcome, bars = outcome_of(3, **nothing, equity=np.full(3, 1e5), positions_value=np.zeros(3), positions=np.zeros(3, int))
    result = result_of(outcome, bars=bars, assumptions={})
    told = result["performance"]
    assert told["total_return"] == 0.0 and told["sharpe_ratio"] is None and told["win_rate"] is None
    assert told["slippage"] is None and told["cost_share"] is None and told["alpha"] is None
    assert told["time_in_market"] == 0.0 and told["is_under_water"] is False
    assert result["trades"] == [] == result["by_symbol"] and result["returns_histogram"] is None and result["prices"] == {}


def test_bankruptcy_has_figures() -> None:
    outcome, bars = outcome_of(5, equity=np.array([1e5, 5e4, 2e4, 1e4, 0.0]), positions_value=np.zeros(5))
    told = result_of(outcome, bars=bars, assumptions={})["performance"]
    assert told["total_return"] == -1.0 == told["annualized_return"] and told["max_drawdown"] == 1.0


def test_crypto_and_attribution_are_told() -> None:
    outcome, bars = outcome_of()
    assert figures(outcome)["year"] == "365 days"
    rows = [{"strategy": "macd", "profit": 3.0}, {"strategy": "rsi", "profit": -1.0}]
    assert result_of(outcome, bars=bars, assumptions={}, attribution=rows)["attribution"] == rows
    assert stored().performance["trades"] > 0 and stored().created_at == FIRST
