"""Backtests side by side: what differs is told, and so is what makes the comparison unfair."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.domain.errors import InvalidInput
from app.domain.records import BacktestRecord
from app.services.backtests.comparison import MOST, compare
from tests.reports.made import VERDICT, stored

ONE = stored(60, verdict=VERDICT)


def other(name: str = "b-2", *, params: dict[str, Any] | None = None, **result: Any) -> BacktestRecord:
    return replace(ONE, backtest_id=name, params=dict(ONE.params) | (params or {}), result={**(ONE.result or {}), **result})


def test_the_same_twice_differs_in_nothing() -> None:
    found = compare([ONE, other()])
    assert [one["backtest_id"] for one in found["backtests"]] == ["b-1", "b-2"]
    assert found["differences"] == {} and found["warnings"] == []
    assert found["backtests"][0]["verdict"] == "WARN"
    assert found["backtests"][0]["performance"]["sharpe_ratio"] == ONE.performance["sharpe_ratio"]


def test_differing_parameters_are_told_and_are_fair() -> None:
    found = compare([ONE, other(params={"strategy": "macd"})])
    assert found["differences"] == {"strategy": [None, "macd"]} and found["warnings"] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dataset": "cd" * 32}, "different data"),
        ({"span": {"start": "2020-01-02"}}, "different spans"),
        ({"assumptions": {"slippage_bps": 0.0}}, "different costs"),
    ],
)
def test_what_makes_it_unfair_is_told(change: dict[str, Any], said: str) -> None:
    [warning] = compare([ONE, other(**change)])["warnings"]
    assert said in warning


def test_costs_not_named_are_none_and_the_names_of_a_walk_forward_count() -> None:
    other_words = {"cost_slippage_bps": "2.0", "cost_minimum_commission": 0.0}
    assert compare([ONE, other(assumptions=other_words)])["warnings"] == []
    span = dict((ONE.result or {})["span"])
    assert compare([ONE, other(span={"start": span["start"], "end": span["end"]})])["warnings"] == []


def test_two_to_twenty() -> None:
    for backtests in ([], [ONE], [other(str(i)) for i in range(MOST + 1)]):
        with pytest.raises(InvalidInput, match="2 to 20"):
            compare(backtests)
