"""The compiled kernel against `app.engine.matching`, trade by trade over random tapes, and against plain arithmetic."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.backtest.compiled.instrument import (
    ENDINGS,
    FillRule,
    Run,
    Setup,
    Sides,
    exits_of,
    instrument,
    run,
    simulate,
    summarise,
    votes_of,
)
from app.backtest.compiled.kernel_terms import SUMS
from app.backtest.compiled.kernel_votes import cross
from app.backtest.statistics.periods import Year
from app.domain.errors import InvalidInput
from app.domain.exits import ExitPolicy
from app.domain.panel import Panel
from app.engine.costs import FREE, CostModel
from app.strategies.class_strategy import Bar, class_strategy
from app.strategies.strategy import Values
from tests.backtest.research_reference import Told, reference, reference_both

PLAIN = Setup(costs=FREE, fraction=1.0)


def panel_of(rows: list[tuple[float, float, float, float]] | np.ndarray, volume: float = 1e6) -> Panel:
    prices = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    at = 1_700_000_000 + 60 * np.arange(prices.shape[1], dtype=np.int64)
    one = [np.ascontiguousarray(price)[None, :] for price in prices]
    return Panel(
        symbols=("X",), timeframe="1Min", timestamp=at, known_at=at + 60,
        open=one[0], high=one[1], low=one[2], close=one[3], volume=np.full((1, prices.shape[1]), volume),
    )  # fmt: skip


def flat(*closes: float) -> Panel:
    """Each bar opens, and stays, at its price."""
    return panel_of([(c, c, c, c) for c in closes])


def runs(panel: Panel, votes: list[float], setup: Setup) -> Run:
    market = instrument(panel)
    return run(market, votes_of(market, np.array(votes, dtype=np.float64), 0.5), setup)


def trips(found: Run) -> list[tuple[int, int, str, float, float]]:
    log = found.trades
    return [
        (
            int(log.entry_bar[i]),
            int(log.exit_bar[i]),
            ENDINGS[int(log.ending[i])],
            float(log.entry_price[i]),
            float(log.exit_price[i]),
        )
        for i in range(len(log))
    ]


@st.composite
def tapes(draw: st.DrawFn) -> tuple[Panel, np.ndarray]:
    """Bars with gaps of price and of time, some without prices, and a score for each."""
    count = draw(st.integers(2, 60))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    width = draw(st.sampled_from([0.002, 0.02, 0.08]))
    close = 100.0 * np.exp(np.cumsum(width * rng.standard_normal(count)))
    opened = np.where(rng.random(count) < 0.5, np.r_[100.0, close[:-1]], close * np.exp(width * rng.standard_normal(count)))
    high = np.maximum(opened, close) * np.exp(width * np.abs(rng.standard_normal(count)))
    low = np.minimum(opened, close) * np.exp(-width * np.abs(rng.standard_normal(count)))
    if draw(st.booleans()):  # prices on a coarse tick: equal prices are common
        opened, high, low, close = (np.round(one) for one in (opened, high, low, close))
    panel = panel_of(np.stack([opened, high, low, close], axis=1))
    rare = draw(st.sampled_from([0.1, 0.3, 0.9]))
    score = np.where(rng.random(count) < rare, rng.uniform(-1.0, 1.0, count), 0.0)
    score[rng.random(count) < 0.05] = np.nan
    panel.volume[0] = np.round(rng.lognormal(4.0, 3.0, count))
    for name in ("open", "high", "low", "close"):
        getattr(panel, name)[0][np.random.default_rng(seed + 1).random(count) < draw(st.sampled_from([0.0, 0.0, 0.1]))] = np.nan
    return panel, score


@st.composite
def setups(draw: st.DrawFn) -> Setup:
    fill = draw(st.sampled_from(FillRule))
    costs = CostModel(
        slippage_bps=Decimal(draw(st.sampled_from([0, 2, 50]))),
        half_spread_bps=Decimal(draw(st.sampled_from([0, 1]))),
        impact_bps=Decimal(draw(st.sampled_from([0, 0, 30]))),
        commission_bps=Decimal(draw(st.sampled_from([0, 5]))),
        commission_per_share=Decimal(draw(st.sampled_from(["0", "0.005"]))),
        minimum_commission=Decimal(draw(st.sampled_from([0, 1]))),
    )
    return Setup(
        costs=costs,
        fill=fill,
        capital=draw(st.sampled_from([500.0, 100_000.0])),
        fraction=draw(st.sampled_from([0.1, 0.95, 1.0])),
        stop_loss_fraction=draw(st.sampled_from([0.0, 0.01, 0.05])),
        take_profit_fraction=draw(st.sampled_from([0.0, 0.01, 0.1])),
        collar_fraction=draw(st.sampled_from([0.0, 0.001, 0.03])) if fill is FillRule.NEXT_OPEN else 0.0,
        quantity_step=draw(st.sampled_from([0.0, 1.0, 0.01])),
    )


@settings(max_examples=300, deadline=None)
@given(tapes(), setups())
def test_kernel_trades_as_the_matching_rule_does(tape: tuple[Panel, np.ndarray], setup: Setup) -> None:
    panel, score = tape
    if is_empty(panel):
        return
    check_equal(panel, score, setup, reference(panel, score, 0.5, setup))


@settings(max_examples=400, deadline=None)
@given(tapes(), setups(), st.sampled_from([0.0, 0.03, 10.0]))
def test_both_sides_trade_as_the_matching_rule_does(tape: tuple[Panel, np.ndarray], setup: Setup, borrow_rate: float) -> None:
    panel, score = tape
    if is_empty(panel):
        return
    setup = replace(setup, sides=Sides.BOTH, borrow_rate=borrow_rate)
    check_equal(panel, score, setup, reference_both(panel, score, 0.5, setup, instrument(panel).year.periods))


def is_empty(panel: Panel) -> bool:
    prices = np.stack([panel.close[0], panel.open[0], panel.low[0], panel.high[0]])
    return not np.isfinite(prices).all(axis=0).any()


def check_equal(panel: Panel, score: np.ndarray, setup: Setup, expected: Told) -> None:
    """A run against the reference: trades, curve and figures."""
    market = instrument(panel)
    found = run(market, votes_of(market, score, 0.5), setup)

    log = found.trades
    assert [
        (int(a), int(b), int(c), ENDINGS[int(e)])
        for a, b, c, e in zip(log.signal_bar, log.entry_bar, log.exit_bar, log.ending, strict=True)
    ] == [(one.signal, one.entry, one.exit, one.ending) for one in expected.trades]
    for name in ("quantity", "entry_price", "exit_price"):
        assert getattr(log, name) == pytest.approx([getattr(one, name) for one in expected.trades], rel=1e-12, nan_ok=True)
    assert log.profit == pytest.approx([one.profit for one in expected.trades], rel=1e-9, abs=1e-9 * setup.capital)
    assert found.equity == pytest.approx(expected.equity, rel=1e-12)

    own = np.r_[setup.capital, found.equity[market.place]]
    returns = own[1:] / own[:-1] - 1.0
    figures = found.figures
    assert figures.total_return == pytest.approx(own[-1] / setup.capital - 1.0, abs=1e-12)
    assert figures.max_drawdown == pytest.approx(np.max(1.0 - own / np.maximum.accumulate(own)), abs=1e-12)
    assert figures.mean == pytest.approx(returns.mean(), abs=1e-14)
    assert figures.deviation == pytest.approx(returns.std(ddof=1) if len(returns) > 1 else 0.0, rel=1e-9, abs=1e-10)
    assert figures.exposure == pytest.approx(expected.held / len(market.place))
    assert figures.trades == sum(one.exit >= 0 for one in expected.trades)
    if returns.std() > 1e-5:
        away = returns - returns.mean()
        assert figures.skewness == pytest.approx((away**3).mean() / (away**2).mean() ** 1.5, rel=1e-6, abs=1e-6)
        assert figures.kurtosis == pytest.approx((away**4).mean() / (away**2).mean() ** 2, rel=1e-6)


@pytest.mark.parametrize(
    ("bars", "ending", "exit_bar", "price"),
    [
        ([(100, 100, 100, 100)] * 2 + [(100, 100, 94, 97)], "stop_loss", 2, 95.0),
        ([(100, 100, 100, 100)] * 2 + [(93, 94, 92, 93)], "stop_loss", 2, 93.0),  # a gap below the stop
        ([(100, 100, 100, 100)] * 2 + [(101, 111, 101, 102)], "take_profit", 2, 110.0),
        ([(100, 100, 100, 100)] * 2 + [(112, 113, 111, 112)], "take_profit", 2, 112.0),  # a gap above the target
        ([(100, 100, 100, 100)] * 2 + [(100, 111, 94, 102)], "stop_loss", 2, 95.0),  # both touched: the stop first
        ([(100, 100, 100, 100)] * 2 + [(111, 111, 94, 102)], "take_profit", 2, 111.0),  # unless it opens beyond the target
        ([(100, 100, 100, 100), (100, 112, 90, 100)], "open", -1, math.nan),  # not in the bar that filled the entry
    ],
)  # fmt: skip
def test_protective_legs(bars: list[tuple[float, ...]], ending: str, exit_bar: int, price: float) -> None:
    setup = Setup(costs=FREE, stop_loss_fraction=0.05, take_profit_fraction=0.10)
    [found] = trips(runs(panel_of(bars), [1.0] + [0.0] * (len(bars) - 1), setup))  # type: ignore[arg-type]
    assert found == pytest.approx((1, exit_bar, ending, 100.0, price), nan_ok=True)


BOTH = replace(PLAIN, sides=Sides.BOTH, borrow_rate=0.0)


@pytest.mark.parametrize(
    ("bar", "ending", "price"),
    [
        ((100, 106, 100, 103), "stop_loss", 105.0),
        ((107, 108, 106, 107), "stop_loss", 107.0),  # a gap above the stop
        ((99, 99, 89, 98), "take_profit", 90.0),
        ((88, 89, 87, 88), "take_profit", 88.0),  # a gap below the target
        ((100, 106, 89, 98), "stop_loss", 105.0),  # both touched: the stop first
        ((89, 106, 89, 98), "take_profit", 89.0),  # unless it opens beyond the target
    ],
)  # fmt: skip
def test_protective_legs_of_a_short_are_the_mirror(bar: tuple[float, ...], ending: str, price: float) -> None:
    setup = replace(BOTH, stop_loss_fraction=0.05, take_profit_fraction=0.10)
    found = runs(panel_of([(100, 100, 100, 100)] * 2 + [bar]), [-1.0, 0.0, 0.0], setup)  # type: ignore[list-item]
    assert trips(found) == [(1, 2, ending, 100.0, price)]
    assert found.trades.quantity.tolist() == [-1_000.0]
    assert found.figures.total_return == pytest.approx(1.0 - price / 100.0)


def test_a_vote_against_a_holding_turns_it_in_one_place() -> None:
    found = runs(flat(100.0, 100.0, 110.0, 110.0, 99.0, 99.0), [1.0, -1.0, 0.0, 1.0, 0.0, 0.0], BOTH)
    assert trips(found)[:2] == [(1, 2, "signal", 100.0, 110.0), (2, 4, "signal", 110.0, 99.0)]
    # 1,000 units bought at 100 and sold at 110; as the turn was decided at 100, 1,000 are sold short at 110, bought back at 99.
    assert found.trades.quantity[:2].tolist() == [1_000.0, -1_000.0]
    assert found.equity.tolist() == pytest.approx([100_000.0, 100_000.0, 110_000.0, 110_000.0, 121_000.0, 121_000.0])


def test_a_short_pays_for_what_it_borrows_bar_by_bar() -> None:
    panel = flat(100.0, 100.0, 50.0, 50.0)
    rate, year = 5.0, instrument(panel).year.periods
    found = runs(panel, [-1.0, 0.0, 0.0, 0.0], replace(BOTH, borrow_rate=rate))
    owed = 1_000.0 * rate / year * np.cumsum([100.0, 50.0, 50.0])
    assert found.equity[1:] == pytest.approx(np.array([100_000.0, 150_000.0, 150_000.0]) - owed)
    assert runs(panel, [-1.0, 0.0, 0.0, 0.0], replace(PLAIN, borrow_rate=rate)).figures.trades == 0  # long only


def test_a_short_that_uses_up_the_equity_is_the_end() -> None:
    found = runs(flat(100.0, 100.0, 250.0, 100.0, 100.0), [-1.0, 0.0, 1.0, 1.0, -1.0], BOTH)
    assert trips(found) == [(1, 2, "ruin", 100.0, 250.0)]
    assert found.equity.tolist() == [100_000.0, 100_000.0, -50_000.0, -50_000.0, -50_000.0]
    assert found.figures.total_return == -1.5


def test_fill_rules_differ_by_the_bar_and_the_price() -> None:
    panel = panel_of([(10, 11, 9, 10.5), (20, 21, 19, 20.5), (30, 31, 29, 30.5), (40, 41, 39, 40.5)])
    votes = [1.0, 0.0, -1.0, 0.0]
    assert trips(runs(panel, votes, PLAIN)) == [(1, 3, "signal", 20.0, 40.0)]
    assert trips(runs(panel, votes, Setup(costs=FREE, fill=FillRule.CLOSE))) == [(0, 2, "signal", 10.5, 30.5)]
    assert "optimistic" in FillRule.CLOSE.assumption


def test_a_collared_entry_lives_for_one_bar() -> None:
    setup = Setup(costs=FREE, collar_fraction=0.01)
    above = panel_of([(100, 100, 100, 100), (102, 103, 102, 102), (100, 100, 100, 100), (100, 100, 100, 100)])
    assert trips(runs(above, [1.0, 0.0, 0.0, 0.0], setup)) == []
    within = panel_of([(100, 100, 100, 100), (102, 103, 100.5, 102), (100, 100, 100, 100)])
    assert trips(runs(within, [1.0, 0.0, 0.0], setup))[0][3] == pytest.approx(101.0)


def test_a_size_is_whole_steps_and_never_more_than_the_cash() -> None:
    market = flat(100.0, 103.0, 103.0)
    assert runs(market, [1.0, 0.0, 0.0], Setup(costs=FREE, capital=1_000.0, fraction=1.0)).trades.quantity == pytest.approx(
        [1_000 / 103]
    )
    assert runs(
        market, [1.0, 0.0, 0.0], Setup(costs=FREE, capital=1_000.0, fraction=1.0, quantity_step=1.0)
    ).trades.quantity == [9.0]
    assert len(runs(market, [1.0, 1.0, 1.0], Setup(costs=FREE, capital=50.0, quantity_step=1.0)).trades) == 0


def test_an_exit_and_an_entry_in_one_bar_are_one_return() -> None:
    bars = [(100, 100, 100, 100), (100, 106, 100, 100), (100, 100, 100, 100)]
    found = runs(
        panel_of(bars), [1.0, 1.0, 0.0], Setup(costs=FREE, fill=FillRule.CLOSE, fraction=1.0, take_profit_fraction=0.05)
    )
    assert trips(found)[0] == (0, 1, "take_profit", 100.0, 105.0)
    assert found.equity / found.equity[0] == pytest.approx([1.0, 1.05, 1.05])
    assert found.figures.mean == pytest.approx(0.05 / 3)


def test_nothing_moves_without_votes() -> None:
    found = runs(flat(1.0, 2.0, 3.0), [0.0, math.nan, 0.0], PLAIN)
    assert (found.figures.total_return, found.figures.sharpe_ratio, found.figures.max_drawdown) == (0.0, 0.0, 0.0)
    assert math.isnan(found.figures.win_rate)
    assert found.equity == pytest.approx([100_000.0] * 3)


def test_cross_votes_are_those_of_the_strategies() -> None:
    from app.strategies.columns import crosses

    rng = np.random.default_rng(3)
    for _ in range(20):
        fast, slow = np.round(rng.standard_normal((2, 201)), 0)  # equal values are common
        fast[:3], slow[:5] = np.nan, np.nan
        votes = np.full(208, 9, dtype=np.int8)
        for start in range(0, 201, 50):
            cross(fast, slow, start, min(start + 50, 201), votes)
        assert votes[:201].tolist() == np.nan_to_num(crosses(fast, slow)).tolist()


def test_figures_of_a_constant_gain_have_no_rounding_for_risk() -> None:
    sums = np.zeros((1, SUMS))
    sums[0, :5] = 1.0, 10 * 0.01, 10 * 0.01**2, 10 * 0.01**3, 10 * 0.01**4
    figures = summarise(sums, 10, Year(periods=252.0, text=""), 1.0)
    assert (figures["deviation"][0], figures["sharpe_ratio"][0], figures["kurtosis"][0]) == (0.0, 0.0, 3.0)


@pytest.mark.parametrize(
    "fault",
    [
        {"fraction": 0.0}, {"fraction": math.nan}, {"capital": -1.0}, {"stop_loss_fraction": 1.0}, {"collar_fraction": -0.1},
        {"quantity_step": math.inf}, {"borrow_rate": math.nan}, {"fill": FillRule.CLOSE, "collar_fraction": 0.01},
    ],
)  # fmt: skip
def test_a_setup_that_makes_no_sense_is_refused(fault: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        Setup(**fault)  # type: ignore[arg-type]


def test_an_exit_policy_the_kernel_cannot_do_is_refused() -> None:
    assert exits_of(ExitPolicy()) == {"stop_loss_fraction": 0.05, "take_profit_fraction": 0.10}
    with pytest.raises(InvalidInput, match="trailing_fraction"):
        exits_of(ExitPolicy(trailing_fraction=0.1))


def test_no_bar_is_no_market() -> None:
    with pytest.raises(InvalidInput, match="no bar with prices"):
        instrument(flat(math.nan, 0.0))


class Bodies:
    """Buys a bar that closed well above its open, sells one that closed well below."""

    name, parameters, exits = "bodies", (), ExitPolicy()

    def on_bar(self, bar: Bar, position: float) -> float | None:
        return 1.0 if bar.close > bar.open * 1.002 else -1.0 if bar.close < bar.open * 0.998 else 0.0

    @staticmethod
    def memory(values: Values) -> int:
        return 1


@settings(max_examples=60, deadline=None)
@given(tapes(), setups())
def test_a_plain_class_trades_as_the_matching_rule_does(tape: tuple[Panel, np.ndarray], setup: Setup) -> None:
    panel, _ = tape
    body = panel.close[0] / panel.open[0]
    if not np.isfinite(body * panel.high[0] * panel.low[0]).any():
        return
    log = simulate(class_strategy(Bodies), panel, {}, setup).trades
    score = (panel.close[0] > panel.open[0] * 1.002) * 1.0 - (panel.close[0] < panel.open[0] * 0.998) * 1.0
    expected = reference(panel, score, 0.5, setup).trades
    assert list(zip(log.entry_bar, log.exit_bar, strict=True)) == [(one.entry, one.exit) for one in expected]
    for name in ("quantity", "entry_price", "exit_price"):
        assert getattr(log, name) == pytest.approx([getattr(one, name) for one in expected], rel=1e-12, nan_ok=True)
