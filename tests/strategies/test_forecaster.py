"""A strategy as forecaster: live bars and a whole tape give the same scores; what it says is acted on, recorded, explained."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest

from app.domain.bar import BarSeries
from app.domain.forecast import Answer, Forecast, NoForecast, Score
from app.domain.order import Side
from app.domain.panel import PRICES, Panel
from app.domain.reason import Reason
from app.engine.decide import decide
from app.engine.decision import Decision
from app.engine.recording import Inputs, from_json, to_json
from app.engine.strategy_rules import strategy_limits, strategy_policy
from app.strategies.catalog import CATALOG, find
from app.strategies.forecaster import StrategyForecaster, TapedForecaster
from app.strategies.forecasts import Hybrid, history
from app.strategies.strategy import checked
from tests.engine.worlds import LIMITS, NOW, POLICY, Quote, book_of, context_of, held, view_of
from tests.strategies.panels import walk

BARS = 460


def series(panel: Panel, *, holes: np.ndarray | None = None) -> dict[str, BarSeries]:
    found = {}
    for row, symbol in enumerate(panel.symbols):
        kept = np.ones(len(panel), dtype=bool) if holes is None else ~holes[row]
        found[symbol] = BarSeries(
            symbol=symbol,
            timeframe=panel.timeframe,
            timestamp=panel.timestamp[kept],
            known_at=panel.known_at[kept],
            **{name: getattr(panel, name)[row][kept] for name in PRICES},
        )
    return found


def at_bar(panel: Panel, bar: int) -> datetime:
    return datetime.fromtimestamp(int(panel.known_at[bar]), UTC)


class Models:
    """Forecasts that follow from the newest bar of a symbol."""

    def forecast(self, bars: dict[str, BarSeries], at: datetime) -> dict[str, Answer]:
        return {symbol: self.answer(symbol, one.known_by(at)) for symbol, one in bars.items() if len(one.known_by(at))}

    def answer(self, symbol: str, known: BarSeries) -> Forecast:
        close, number = float(known.close[-1]), int(known.known_at[-1]) // 300
        return Forecast(
            symbol=symbol, daily_return=((number * 7919) % 200 - 100) / 5000, confidence=(number * 31 % 10) / 10, members=(),
            last_close=close, last_close_at=datetime.fromtimestamp(int(known.known_at[-1]), UTC), model="made",
        )  # fmt: skip


@pytest.mark.parametrize("name", CATALOG)
@pytest.mark.parametrize("with_holes", [False, True])
def test_live_and_tape_say_the_same(name: str, with_holes: bool) -> None:
    strategy, panel = find(name), walk(4, BARS)
    holes = np.random.default_rng(3).random(panel.close.shape) < (0.1 if with_holes else 0.0)
    holes[0] = False
    bars = series(panel, holes=holes)
    holed = replace(panel, **{key: np.where(holes, np.nan, getattr(panel, key)) for key in PRICES})
    models = Models()
    forecasts = {
        symbol: history({int(one.known_at[i]): models.answer(symbol, one.slice(0, i + 1)) for i in range(len(one))})
        for symbol, one in bars.items()
    }
    live = StrategyForecaster(strategy, {}, models=models if isinstance(strategy, Hybrid) else None)
    tape = TapedForecaster(strategy, {}, holed, forecasts=forecasts)
    for bar in (0, 3, 25, 120, 300, BARS - 2, BARS - 1):
        now = at_bar(panel, bar)
        assert live.forecast(bars, now) == tape.forecast(bars, now)
    last = live.forecast(bars, at_bar(panel, BARS - 1))
    assert isinstance(last["S0"], Score) and set(last["S0"].votes)


def test_it_is_told_why_nothing_is_said() -> None:
    panel = walk(3, 40)
    bars = series(panel)
    bars["S1"] = bars["S1"].slice(0, 39)
    bars["S2"] = bars["S2"].slice(30, 40)
    live = StrategyForecaster(find("sma_cross"), {})
    said = live.forecast(bars, at_bar(panel, 39))
    assert isinstance(said["S0"], Score)
    assert {symbol: one.code for symbol, one in said.items() if isinstance(one, NoForecast)} == {
        "S1": "no_bar", "S2": "too_few_bars",
    }  # fmt: skip
    assert said["S2"].detail == "10 completed bars are known; 31 are needed"
    early = live.forecast(bars, datetime(2000, 1, 1, tzinfo=UTC))
    assert {one.code for one in early.values()} == {"too_few_bars"}


def test_bars_after_now_and_unsound_bars_are_not_looked_at() -> None:
    panel = walk(2, 200)
    bars, live = series(panel), StrategyForecaster(find("swing"), {})
    spoilt = {symbol: replace(one, close=np.where(np.arange(200) > 150, 1.0, one.close)) for symbol, one in bars.items()}
    assert live.forecast(spoilt, at_bar(panel, 150)) == live.forecast(bars, at_bar(panel, 150))
    zeros = {symbol: replace(one, low=np.where(np.arange(200) % 50 == 49, 0.0, one.low)) for symbol, one in bars.items()}
    holed = replace(panel, low=np.where(np.arange(200) % 50 == 49, 0.0, panel.low))
    tape = TapedForecaster(find("swing"), {}, holed)
    for bar in (150, 198, 199):
        assert live.forecast(zeros, at_bar(panel, bar)) == tape.forecast(zeros, at_bar(panel, bar))


def test_a_strategy_that_fails_says_nothing_about_any_symbol() -> None:
    class Failing(type(find("trend"))):  # type: ignore[misc]
        def score(self, columns, values):
            raise ZeroDivisionError("by hand")

    class Loud(type(find("trend"))):  # type: ignore[misc]
        def score(self, columns, values):
            return columns["change"] * 0 + 1.5

    panel = walk(2, 10)
    for strategy, words in ((Failing(), "ZeroDivisionError: by hand"), (Loud(), "a score of 1.5 is beyond -1..1")):
        said = StrategyForecaster(strategy, {}).forecast(series(panel), at_bar(panel, 9))
        assert {one.code for one in said.values()} == {"strategy_failed"} and words in said["S0"].detail


def inputs_with(score: float, *, price: float = 100.0, held_units: int = 0) -> Inputs:
    """A sound market in which a strategy says `score` of AAPL."""
    strategy = find("donchian_breakout")
    quotes = {"AAPL": Quote(price=price)}
    said = Score(
        symbol="AAPL", score=score, votes={"upper": 2.5, "cross": score, "odd": float("nan")}, as_of=NOW, source="donchian"
    )
    positions = [held("AAPL", held_units, 100)] if held_units else []
    return Inputs(
        view=replace(view_of(quotes), forecasts={"AAPL": said}),
        book=book_of(positions, quotes=quotes),
        context=context_of(quotes),
        limits=strategy_limits(strategy, LIMITS),
        policy=strategy_policy(strategy, checked(strategy, {}), POLICY),
    )


def decided(inputs: Inputs) -> Decision:
    return decide(inputs.view, inputs.book, inputs.context, inputs.limits, inputs.policy)


def test_a_score_is_compared_as_it_is_and_traded() -> None:
    bought = decided(inputs_with(1.0))
    (order,) = bought.orders
    assert (order.order.side, bought.records[0].reason) == (Side.BUY, Reason.BUY_SIGNAL)
    assert order.order.stop_loss_price == Decimal("92.00")  # of the strategy's exits, not of the settings
    assert order.order.take_profit_price == Decimal("150.00")
    (sold,) = decided(inputs_with(-1.0, held_units=20)).orders
    assert (sold.order.side, sold.order.quantity) == (Side.SELL, 20)
    # The price has moved since the bar: a score does not care, unlike a forecast of a price.
    assert decided(inputs_with(0.6, price=108.0)).records[0].expected_return == 0.6


@pytest.mark.parametrize("score", [0.0, 0.499, -0.499, float("nan")])
def test_between_the_thresholds_nothing_is_done(score: float) -> None:
    assert decided(inputs_with(score)).orders == decided(inputs_with(score, held_units=20)).orders == ()
    reason = decided(inputs_with(score)).records[0].reason
    assert reason is (Reason.HOLD_BELOW_THRESHOLD if score == score else Reason.NO_FORECAST)


def test_votes_are_explained_and_recorded_to_the_last_bit() -> None:
    inputs = inputs_with(1.0 / 3.0)
    record = decided(inputs).records[0]
    assert record.votes["upper"] == 2.5 and record.confidence == 1.0
    assert record.detail == "donchian: upper 2.5, cross 0.333333, odd nan"
    again = from_json(json.loads(json.dumps(to_json(inputs), allow_nan=False)))
    said = again.view.forecasts["AAPL"]
    assert isinstance(said, Score) and said.score == 1.0 / 3.0 and np.isnan(said.votes["odd"]) and said.as_of == NOW
    assert decided(again).orders == decided(inputs).orders and decided(again).risk == decided(inputs).risk


def test_no_holding_makes_room_for_a_greater_score() -> None:
    symbols = [f"S{n}" for n in range(LIMITS.max_positions + 1)]
    quotes = {symbol: Quote() for symbol in symbols}
    scores = {s: Score(symbol=s, score=float(s == symbols[-1]), votes={}, as_of=NOW, source="x") for s in symbols}
    strategy = find("sma_cross")
    decision = decide(
        replace(view_of(quotes), forecasts=scores),
        book_of([held(s, 10, 100) for s in symbols[:-1]], quotes=quotes),
        context_of(quotes),
        LIMITS,
        strategy_policy(strategy, checked(strategy, {}), POLICY),
    )
    assert decision.orders == () and decision.records[-1].reason is Reason.NO_FREE_SLOT
