"""A sweep is the kernel one set at a time, whatever it shares, however many threads do it and however little room it has."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from app.backtest.compiled.instrument import FillRule, Setup, Sides, instrument, run, simulate, votes_of
from app.backtest.compiled.sweep import Sweep, sweep
from app.domain.bar import Floats
from app.domain.errors import InvalidInput
from app.domain.panel import Panel
from app.strategies.catalog import CATALOG
from app.strategies.columns import crosses
from app.strategies.lines import Crossing
from app.strategies.strategy import Strategy, Values, checked
from tests.backtest.test_kernel import panel_of

AT = datetime(2024, 1, 2, tzinfo=UTC)


def market(count: int = 900, seed: int = 1) -> Panel:
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(0.004 * rng.standard_normal(count)))
    opened = np.r_[100.0, close[:-1]] * np.exp(0.001 * rng.standard_normal(count))
    high, low = np.maximum(opened, close) * 1.002, np.minimum(opened, close) / 1.002
    panel = panel_of(np.stack([opened, high, low, close], axis=1))
    for name in ("open", "high", "low", "close"):
        getattr(panel, name)[0, ::97] = np.nan
    return panel


def sets(strategy: Strategy, axes: dict[str, list[float]]) -> list[dict[str, float]]:
    found = []
    for values in itertools.product(*axes.values()):
        try:
            found.append(checked(strategy, dict(zip(axes, values, strict=True))))
        except InvalidInput:  # fast above slow
            continue
    return found


def one_by_one(
    strategy: Strategy, panel: Panel, chosen: list[dict[str, float]], setup: Setup, marks: Any
) -> tuple[list[Any], Floats]:
    bars = instrument(panel)
    found, marked = [], []
    for values in chosen:
        score = strategy.score(strategy.columns(panel, values), values)
        one = run(bars, votes_of(bars, score[0], strategy.threshold(values)), setup)
        found.append(one.figures)
        marked.append(one.equity[marks])
    return found, np.array(marked)


GRIDS: dict[str, dict[str, list[float]]] = {
    "sma_cross": {"fast": [2, 5, 9, 40], "slow": [5, 20, 50]},
    "rsi": {"period": [5, 14], "oversold": [25.0, 40.0], "overbought": [60.0, 75.0]},
    "donchian_breakout": {},
    "weighted_ensemble": {"threshold": [0.1, 0.3], "weight_trend": [0.0, 1.0], "weight_swing": [0.5, 1.0]},
}


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize(("threads", "line_bytes"), [(1, 1 << 30), (3, 0)])
def test_a_sweep_is_the_kernel_set_by_set(name: str, threads: int, line_bytes: int) -> None:
    panel, strategy = market(), CATALOG[name]
    chosen = sets(strategy, GRIDS[name])
    setup = Setup(stop_loss_fraction=0.03, take_profit_fraction=0.05)
    marks = np.array([0, 1, 96, 97, 98, 500, 899])
    found = sweep(strategy, panel, chosen, setup, marks=marks, threads=threads, line_bytes=line_bytes)
    expected, marked = one_by_one(strategy, panel, chosen, setup, marks)
    assert sum(one.trades for one in expected) > 0
    for field in ("total_return", "sharpe_ratio", "max_drawdown", "trades", "win_rate", "exposure", "skewness", "kurtosis"):
        np.testing.assert_array_equal(found.figures[field], [getattr(one, field) for one in expected], err_msg=field)
    np.testing.assert_array_equal(found.marked, marked)
    assert list(found.values) == chosen


@pytest.mark.parametrize("name", ["sma_cross", "rsi"])
def test_a_sweep_of_both_sides_is_the_kernel_set_by_set(name: str) -> None:
    panel, strategy, setup = market(), CATALOG[name], Setup(sides=Sides.BOTH, stop_loss_fraction=0.03)
    chosen, marks = sets(strategy, GRIDS[name]), np.array([0, 96, 500, 899])
    found = sweep(strategy, panel, chosen, setup, marks=marks)
    expected, marked = one_by_one(strategy, panel, chosen, setup, marks)
    np.testing.assert_array_equal(found.figures["total_return"], [one.total_return for one in expected])
    np.testing.assert_array_equal(found.marked, marked)
    long = sweep(strategy, panel, chosen, replace(setup, sides=Sides.LONG))
    assert (found.figures["trades"] > long.figures["trades"]).all()


@pytest.mark.parametrize("strategy", [one for one in CATALOG.values() if isinstance(one, Crossing)], ids=lambda one: one.name)
def test_the_lines_of_a_strategy_are_its_score(strategy: Crossing) -> None:
    from app.strategies.columns import Bars

    panel = market(700, seed=5).slice(1, 90)
    values = checked(strategy, {})
    one = Bars(panel.timestamp, *(getattr(panel, name) for name in ("open", "high", "low", "close", "volume")))
    first, second = (line.compute(one) for line in strategy.lines(values))
    np.testing.assert_array_equal(crosses(first, second), strategy.score(strategy.columns(panel, values), values))


def swept(**more: Any) -> Sweep:
    strategy = CATALOG["sma_cross"]
    return sweep(strategy, market(), sets(strategy, GRIDS["sma_cross"]), Setup(), **more)


def test_returns_are_those_between_the_marks() -> None:
    found = swept(marks=np.arange(99, 900, 100))
    returns = found.returns()
    assert returns.shape == (9, len(found.values))
    np.testing.assert_allclose(np.prod(1.0 + returns, axis=0) - 1.0, found.figures["total_return"], rtol=1e-9)


def test_a_heat_map_has_a_cell_for_each_set_and_none_for_what_was_not_tried() -> None:
    found = swept()
    shown = found.heat_map("fast", "slow", "total_return")
    assert shown.grid.shape == (3, 4)
    for values, figure in zip(found.values, found.figures["total_return"], strict=True):
        assert shown.grid[shown.y.index(values["slow"]), shown.x.index(values["fast"])] == figure
    assert np.isnan(shown.grid[shown.y.index(5), shown.x.index(9)])
    assert int(found.ranked("total_return")[0]) == int(np.argmax(found.figures["total_return"]))


def test_other_parameters_of_a_heat_map_are_those_of_the_best_or_as_asked() -> None:
    strategy = CATALOG["rsi"]
    found = sweep(strategy, market(), sets(strategy, GRIDS["rsi"]), Setup())
    best = found.values[int(found.ranked("total_return")[0])]
    assert found.heat_map("oversold", "overbought", "total_return").fixed == {"period": best["period"]}
    assert found.heat_map("oversold", "overbought", "total_return", fixed={"period": 14}).fixed == {"period": 14}
    for x, y in (("period", "period"), ("period", "nothing")):
        with pytest.raises(InvalidInput):
            found.heat_map(x, y)
    with pytest.raises(InvalidInput, match="no figure 'luck'"):
        found.ranked("luck")


def test_every_set_is_a_trial_of_its_own() -> None:
    found = swept()
    trials = list(found.trials("digest", AT))
    assert len({trial.trial_id for trial in trials}) == len(found.values)
    year = found.year.periods**0.5
    assert [trial.sharpe_ratio * year for trial in trials] == pytest.approx(found.figures["sharpe_ratio"])
    other = sweep(CATALOG["sma_cross"], market(), list(found.values[:1]), Setup(fill=FillRule.CLOSE))
    assert next(other.trials("digest", AT)).trial_id != trials[0].trial_id


def test_progress_counts_every_set_and_may_end_the_work() -> None:
    seen: list[int] = []
    swept(progress=lambda done, total, name: seen.append(done))
    assert seen == sorted(seen)
    assert seen[-1] == len(sets(CATALOG["sma_cross"], GRIDS["sma_cross"]))

    class Cancelled(Exception):
        pass

    def cancel(done: int, total: int, name: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        swept(progress=cancel)


def test_columns_are_computed_once_for_all_that_share_them() -> None:
    class Counted:
        name, doc, parameters, exits = "counted", "", CATALOG["rsi"].parameters, CATALOG["rsi"].exits
        computed = 0

        def threshold(self, values: Values) -> float:
            return 0.5

        def memory(self, values: Values) -> int:
            return 1

        def columns(self, panel: Panel, values: Values) -> dict[str, Floats]:
            self.computed += 1
            return CATALOG["rsi"].columns(panel, values)

        def score(self, columns: Any, values: Values) -> Floats:
            return CATALOG["rsi"].score(columns, values)

    strategy = Counted()
    sweep(strategy, market(), sets(strategy, GRIDS["rsi"]), Setup())
    assert strategy.computed == 2  # once for each period


def test_what_cannot_be_swept_is_refused() -> None:
    panel, strategy = market(), CATALOG["sma_cross"]
    two = Panel(
        symbols=("X", "Y"), timeframe="1Min", timestamp=panel.timestamp, known_at=panel.known_at,
        **{name: np.concatenate([getattr(panel, name)] * 2) for name in ("open", "high", "low", "close", "volume")},
    )  # fmt: skip
    with pytest.raises(InvalidInput, match="one symbol"):
        sweep(strategy, two, [checked(strategy, {})], Setup())
    with pytest.raises(InvalidInput, match="no parameter set"):
        sweep(strategy, panel, [], Setup())


@pytest.mark.parametrize("name", GRIDS)
def test_one_set_by_itself_is_that_of_the_sweep(name: str) -> None:
    panel, strategy = market(), CATALOG[name]
    values = checked(strategy, {})
    found = simulate(strategy, panel, values, Setup())
    assert found.figures.total_return == sweep(strategy, panel, [values], Setup()).figures["total_return"][0]
    assert len(found.trades) > 0
    assert len(found.equity) == len(panel)
    assert len(simulate(strategy, panel, values, Setup(), curve=False).equity) == 0
