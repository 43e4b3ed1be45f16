"""Laws that every strategy of the catalog keeps: causal, of finite memory, blind to other symbols unless it ranks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.domain.errors import InvalidInput, NotFound
from app.domain.panel import PRICES, Panel
from app.strategies.catalog import CATALOG, find
from app.strategies.forecasts import ForecastHistory, Hybrid
from app.strategies.laws import broken_laws
from app.strategies.strategy import Parameter, Strategy, checked
from tests.strategies.panels import walk

RANKING = {"cross_sectional_momentum"}
BARS = 700
ALL = pytest.mark.parametrize("name", CATALOG)


def settings_of(strategy: Strategy) -> list[dict[str, float]]:
    """The defaults, and two other settings within the bounds: each number a third less, and a third more."""
    found = [checked(strategy, {})]
    for factor in (0.67, 1.33):
        given = {p.name: _scaled(p, factor) for p in strategy.parameters}
        found.append(checked(strategy, given))
    return found


def _scaled(parameter: Parameter, factor: float) -> float:
    value = min(max(parameter.default * factor, parameter.low), parameter.high)
    return max(int(value), parameter.low) if parameter.is_whole else value


def scored(strategy: Strategy, panel: Panel, values: dict[str, float]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    if isinstance(strategy, Hybrid):
        strategy = strategy.with_forecasts(forecasts_of(panel))
    columns = strategy.columns(panel, values)
    return columns, strategy.score(columns, values)


@ALL
def test_the_first_bars_give_what_all_bars_give_there(name: str) -> None:
    strategy, panel = find(name), walk(4, BARS)
    for values in settings_of(strategy):
        whole, score = scored(strategy, panel, values)
        for stop in (1, 2, 17, 60, 333, 512, BARS - 1):
            columns, early = scored(strategy, panel.slice(0, stop), values)
            assert np.array_equal(early, score[:, :stop], equal_nan=True)
            for key, column in columns.items():
                assert np.array_equal(column, whole[key][:, :stop], equal_nan=True), key


@ALL
def test_the_bars_of_its_memory_give_its_newest_score(name: str) -> None:
    strategy, panel = find(name), walk(4, BARS)
    for values in settings_of(strategy):
        _, score = scored(strategy, panel, values)
        memory = strategy.memory(values)
        for stop in (memory, memory + 1, memory + 101, BARS):
            _, recent = scored(strategy, panel.slice(0, stop).last(memory), values)
            assert np.array_equal(recent[:, -1], score[:, stop - 1], equal_nan=True)


@ALL
def test_it_says_something_once_it_has_its_memory(name: str) -> None:
    strategy, panel = find(name), walk(4, BARS)
    for values in settings_of(strategy):
        columns, score = scored(strategy, panel, values)
        memory = strategy.memory(values)
        assert memory <= BARS and score.shape == panel.close.shape
        assert np.isfinite(score[:, memory - 1 :]).all() and (np.abs(score[:, memory - 1 :]) <= 1.0).all()
        assert all(np.isfinite(column[:, memory - 1 :]).all() for column in columns.values())
        assert 0.0 < strategy.threshold(values) <= 1.0
        assert (np.abs(score[:, memory - 1 :]) >= strategy.threshold(values)).any()


@settings(max_examples=60, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(CATALOG)), seed=st.integers(0, 1_000))
def test_the_laws_hold_for_any_parameters(data: st.DataObject, name: str, seed: int) -> None:
    strategy = find(name)
    given = {p.name: data.draw(_allowed(p), label=p.name) for p in strategy.parameters}
    for parameter in strategy.parameters:
        if parameter.below is not None:
            assume(given[parameter.name] < given[parameter.below])
    values = checked(strategy, given)
    panel = walk(2, strategy.memory(values) + 20, seed=seed)
    bound = strategy.with_forecasts(forecasts_of(panel)) if isinstance(strategy, Hybrid) else strategy
    assert broken_laws(bound, values, panel) == ()


def _allowed(parameter: Parameter) -> st.SearchStrategy[float]:
    if parameter.is_whole:
        return st.integers(int(parameter.low), int(min(parameter.high, 70)))
    return st.floats(parameter.low, parameter.high)


@ALL
def test_a_score_follows_from_its_own_row_of_columns(name: str) -> None:
    strategy, panel = find(name), walk(4, BARS)
    values = checked(strategy, {})
    columns, score = scored(strategy, panel, values)
    for t in (BARS - 1, BARS // 2):
        row = {key: column[:, t : t + 1] for key, column in columns.items()}
        assert np.array_equal(strategy.score(row, values)[:, 0], score[:, t], equal_nan=True)


@pytest.mark.parametrize("name", [name for name in CATALOG if name not in RANKING])
def test_other_symbols_and_the_gaps_they_make_do_not_matter(name: str) -> None:
    strategy, panel = find(name), walk(4, BARS)
    values = checked(strategy, {})
    alone = [scored(strategy, only(panel, row), values)[1][0] for row in range(4)]
    gaps = np.random.default_rng(5).random(panel.close.shape) < 0.2
    gaps[0] = False
    holed = replace(panel, **{key: np.where(gaps, np.nan, getattr(panel, key)) for key in PRICES})
    _, together = scored(strategy, holed, values)
    assert np.array_equal(together[0], alone[0], equal_nan=True)
    for row in range(1, 4):
        kept = ~gaps[row]
        own = take(only(panel, row), kept)
        assert np.isnan(together[row][gaps[row]]).all()
        assert np.array_equal(together[row][kept], scored(strategy, own, values)[1][0], equal_nan=True)


@ALL
def test_bad_prices_are_no_bars(name: str) -> None:
    strategy, panel = find(name), walk(3, 300)
    values = checked(strategy, {})
    close, low = panel.close.copy(), panel.low.copy()
    close[1, 200:210], low[2, 250] = 0.0, np.inf
    _, score = scored(strategy, replace(panel, close=close, low=low), values)
    assert np.isnan(score[1, 200:210]).all() and np.isnan(score[2, 250])


@ALL
def test_a_price_that_never_moves_asks_for_nothing(name: str) -> None:
    strategy = find(name)
    still = walk(3, 300)
    still = replace(still, **{key: np.full_like(still.close, 100.37) for key in PRICES})
    _, score = scored(strategy, still, checked(strategy, {}))
    memory = strategy.memory(checked(strategy, {}))
    assert (np.abs(score[:, memory - 1 :]) < strategy.threshold(checked(strategy, {}))).all() or name in RANKING


@ALL
def test_parameters_are_told_and_bounded(name: str) -> None:
    strategy = find(name)
    assert strategy.name == name and strategy.doc.endswith(".")
    for parameter in strategy.parameters:
        assert parameter.low <= parameter.default <= parameter.high and parameter.doc
        for wrong in (float("nan"), parameter.low - 1, parameter.high + 1):
            with pytest.raises(InvalidInput, match=parameter.name):
                checked(strategy, {parameter.name: wrong})
    with pytest.raises(InvalidInput, match="no such parameter"):
        checked(strategy, {"nonsense": 1.0})


def test_a_parameter_may_have_to_be_below_another() -> None:
    with pytest.raises(InvalidInput, match="fast: 30 must be less than slow, which is 30"):
        checked(find("sma_cross"), {"fast": 30})


def test_an_unknown_strategy_is_refused_with_those_near_it() -> None:
    with pytest.raises(NotFound, match="did you mean sma_cross"):
        find("sma_crss")
    with pytest.raises(NotFound, match="there are "):
        find("zzz")


def forecasts_of(panel: Panel) -> dict[str, ForecastHistory]:
    """One forecast a bar, each from its own bar alone."""
    expected = (panel.close * 1000.0) % 7.0 / 100.0 - 0.03
    return {
        symbol: ForecastHistory(
            known_at=panel.known_at[there],
            target=(panel.close[row] * (1.0 + expected[row]))[there],
            confidence=((panel.close[row] * 100.0) % 10.0 / 10.0)[there],
        )
        for row, symbol in enumerate(panel.symbols)
        for there in [np.isfinite(panel.close[row])]
    }


def only(panel: Panel, row: int) -> Panel:
    return replace(panel, symbols=(panel.symbols[row],), **{key: getattr(panel, key)[row : row + 1] for key in PRICES})


def take(panel: Panel, bars: np.ndarray) -> Panel:
    return replace(
        panel,
        timestamp=panel.timestamp[bars],
        known_at=panel.known_at[bars],
        **{key: getattr(panel, key)[:, bars] for key in PRICES},
    )
