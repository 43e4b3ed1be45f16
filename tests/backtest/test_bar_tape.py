"""The tape of bars as they are: what a decision sees, when it fills, which days count."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from app.backtest.bar_tape import BarTape, continuous_days
from app.backtest.days import series_of
from app.backtest.driver import Plan, run
from app.domain.errors import InvalidInput
from app.domain.order import Side
from app.domain.panel import PRICES, Panel
from app.engine.costs import FREE
from app.engine.recording import to_json
from app.engine.view import daily_atr, daily_volatility, usual_daily_volatility
from app.risk.limits import Policy, RiskLimits
from app.runtime.calendar import new_york_calendar
from tests.backtest.panels import PanelForecasts, minute_panel, random_panel
from tests.backtest.test_driver import Diary

POLICY = Policy(buy_threshold=0.2, sell_threshold=-0.2, confidence_threshold=0.0)


def plan_of(panel: Panel, **changes: object) -> Plan:
    base: dict[str, object] = {
        "symbols": panel.symbols,
        "capital": Decimal(100_000),
        "limits": RiskLimits(),
        "policy": POLICY,
        "costs": FREE,
    }
    return Plan(**(base | changes))  # type: ignore[arg-type]


def scores(panel: Panel, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, panel.close.shape)


def traded(tape: BarTape, expected: np.ndarray, **changes: object) -> Diary:
    diary = Diary()
    run(plan_of(tape.panel, **changes), tape, PanelForecasts(tape, expected), observer=diary)
    return diary


def test_the_figures_of_the_days_are_those_of_live_trading_to_the_last_bit() -> None:
    panel, sessions = random_panel(5, 6, 180, holes=0.05)
    tape = BarTape(panel, sessions)
    series = series_of(panel)
    for number in (0, 1, 14, 15, 20, 21, 22, 120, 121, 122, 160, 179):
        figures = tape.figures.row(number)
        for row, symbol in enumerate(panel.symbols):
            known = series[symbol].known_by(sessions[number].opens_at)
            found = [figures.volatility[row], figures.usual_volatility[row], figures.atr[row], figures.last_close[row]]
            usual = [daily_volatility(known), usual_daily_volatility(known), daily_atr(known)]
            np.testing.assert_array_equal(found, [*usual, known.close[-1] if len(known) else np.nan])


def test_a_decision_sees_the_close_of_the_bar_that_just_ended_and_fills_after_it() -> None:
    panel, sessions = random_panel(2, 4, 60)
    diary = traded(BarTape(panel, sessions), scores(panel))
    assert [d.decided_at for d in diary.decisions] == [s.closes_at for s in sessions]
    for t, inputs in enumerate(diary.inputs):
        np.testing.assert_array_equal(inputs.view.price, panel.close[:, t])
        np.testing.assert_array_equal(inputs.view.age_seconds, np.zeros(4))
    assert len(diary.executions) > 10
    sent = {v.order.client_order_id: (d.decided_at, v.order) for d in diary.decisions for v in d.orders}
    markets = 0
    for execution in diary.executions:
        if execution.client_order_id not in sent:
            continue
        decided_at, order = sent[execution.client_order_id]
        t = [s.closes_at for s in sessions].index(decided_at)
        assert execution.fill.filled_at == sessions[t + 1].closes_at
        if order.side is Side.SELL:
            markets += 1
            row = panel.symbols.index(execution.fill.symbol)
            assert float(execution.fill.price) == panel.open[row, t + 1]
    assert markets > 3


def test_the_future_changes_nothing_before_it() -> None:
    panel, sessions = random_panel(3, 5, 60, gaps=0.01)
    cut = 40
    later = {name: np.where(np.arange(60) >= cut, 1.37, 1.0) * getattr(panel, name) for name in PRICES}
    expected = scores(panel)
    one = traded(BarTape(panel, sessions), expected)
    other = traded(BarTape(replace(panel, **later), sessions), expected)
    for t in range(cut):
        assert to_json(one.inputs[t]) == to_json(other.inputs[t])
        assert one.decisions[t].orders == other.decisions[t].orders
    assert to_json(one.inputs[cut]) != to_json(other.inputs[cut])


def test_hours_of_a_market_that_never_closes_make_days() -> None:
    panel, days = minute_panel(1, 2, 40)
    tape = BarTape(panel, days, start=days[25].day)
    assert len(days) == 40 and len(tape.sessions) == 15 and tape.bars_of(0) == (600, 624)
    session = tape.session(0)
    assert len(session.decisions(600, once=True)) == 24 and session.ended_at(23) == days[25].closes_at
    close = panel.close[:, 23::24]
    np.testing.assert_array_equal(tape.figures.row(25).last_close, close[:, 24])
    expected = np.std(np.diff(np.log(close[0, 4:25])), ddof=1)
    assert tape.figures.row(25).volatility[0] == expected
    diary = traded(tape, scores(panel))
    assert len(diary.decisions) == 15 * 24 and diary.executions


def test_a_symbol_without_a_bar_keeps_its_last_price_which_ages() -> None:
    panel, days = minute_panel(1, 2, 3)
    holed = replace(panel, **{name: np.where(np.arange(72) % 24 < 5, np.nan, getattr(panel, name)) for name in PRICES})
    full = {name: np.vstack([getattr(panel, name)[:1], getattr(holed, name)[1:]]) for name in PRICES}
    session = BarTape(replace(panel, **full), days).session(1)
    view = session.view(panel.symbols, days[1].opens_at + timedelta(hours=2), {})
    assert view.price[0] == panel.close[0, 25] and view.price[1] == panel.close[1, 23]
    assert view.age_seconds.tolist() == [0.0, 7200.0]


def test_bars_outside_the_sessions_are_left_out_and_the_last_one_ends_at_the_close() -> None:
    sessions = new_york_calendar().between(date(2024, 11, 27), date(2024, 11, 29))  # the last is a half day
    first = int(datetime(2024, 11, 27, 13, 30, tzinfo=UTC).timestamp())
    stamp = first + 3600 * np.arange(60, dtype=np.int64)
    prices = {name: np.full((1, 60), 10.0) for name in PRICES}
    panel = Panel(symbols=("A",), timeframe="1Hour", timestamp=stamp, known_at=stamp + 3600, **prices)
    tape = BarTape(panel, sessions)
    ends = [tape.session(n).ended_at(tape.session(n).steps - 1) for n in range(2)]
    assert [tape.session(n).steps for n in range(2)] == [7, 4] and ends == [s.closes_at for s in sessions]


def test_an_exit_decided_at_the_close_is_of_the_next_session() -> None:
    panel, sessions = random_panel(4, 3, 40)
    up = np.full(panel.close.shape, 0.9)
    up[:, 32:] = -0.9
    diary = traded(BarTape(panel, sessions), up, limits=RiskLimits(stop_loss_fraction=0.9, take_profit_fraction=9.0))
    sold = [e for e in diary.executions if e.fill.side is Side.SELL]
    assert {e.fill.filled_at for e in sold} == {sessions[33].closes_at} and len(sold) == 3
    assert all(float(e.fill.price) == panel.open[panel.symbols.index(e.fill.symbol), 33] for e in sold)


def test_bars_and_sessions_that_do_not_meet_are_told() -> None:
    panel, sessions = random_panel(4, 2, 10)
    with pytest.raises(InvalidInput, match="time zone"):
        BarTape(panel, new_york_calendar().between(date(2022, 1, 3), date(2022, 2, 3)))
    with pytest.raises(InvalidInput, match="before"):
        BarTape(panel, sessions, start=date(2030, 1, 1))
    with pytest.raises(InvalidInput, match="no bars of XYZ"):
        run(plan_of(panel, symbols=("XYZ",)), BarTape(panel, sessions), PanelForecasts(BarTape(panel, sessions), panel.close))


def test_days_of_continuous_markets_end_at_midnight() -> None:
    midnight = int(datetime(2024, 3, 2, tzinfo=UTC).timestamp())
    days = continuous_days(np.array([midnight, midnight + 60], dtype=np.int64))
    assert [d.day for d in days] == [date(2024, 3, 1), date(2024, 3, 2)]
