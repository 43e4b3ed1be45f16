"""A strategy of rules trades live by configuration alone: minute bars, daily bars, one's own file, a hybrid with forecasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.config import Settings
from app.domain.errors import ConfigurationError
from app.domain.order import Purpose
from app.domain.panel import align
from app.engine.decide import decide
from app.engine.recording import from_json
from app.services.strategies.strategy_service import StrategyService
from app.strategies.catalog import find
from app.strategies.forecaster import TapedForecaster
from app.wiring import Services, build, build_guard, open_without_migrating, rules_in_force
from tests.trading.exchange import SYMBOLS, Exchange

Start = Callable[..., Services]


@pytest.fixture
def start(exchange: Exchange, tmp_path: Path) -> Iterator[Start]:
    """The product as its settings make it, on the exchange."""
    built: list[Services] = []

    def begin(**chosen: Any) -> Services:
        services = build(settings_of(exchange, tmp_path, **chosen))
        built.append(services)
        return services

    yield begin
    for services in built:
        services.close()


def settings_of(exchange: Exchange, directory: Path, **chosen: Any) -> Settings:
    return Settings(
        _env_file=None,
        watchlist=" ".join(SYMBOLS),
        alpaca_trading_url=exchange.url,
        alpaca_data_url=exchange.url,
        database_url=f"sqlite:///{directory}/ledger.db",
        **{f"{name}_dir": directory / name for name in ("models", "params", "state", "logs")},
        **chosen,
    )


def test_a_cycle_on_intraday_bars_makes_at_most_eight_calls_also_the_first_of_a_session(
    exchange: Exchange, start: Start
) -> None:
    slow = {"fast": 300, "slow": 1_000}  # no signal: orders, and the cancels before exits, are counted apart
    services = start(strategy="sma_cross", strategy_parameters=slow, strategy_timeframe="15Min")
    services.trading.prepare()
    services.trading.run_cycle()  # the first of all reads the venue's past as well
    exchange.move(advance_seconds=600)
    assert calls_of_a_cycle(services) <= 8
    clock = services.alpaca.clock()
    exchange.move(advance_seconds=int((clock.next_close - clock.now).total_seconds()))
    clock = services.alpaca.clock()
    assert not clock.is_open and calls_of_a_cycle(services, "market_closed") == 1
    exchange.move(advance_seconds=int((clock.next_open - clock.now).total_seconds()) - 300)
    assert calls_of_a_cycle(services, "market_closed") >= 3  # clock, bars of days, bars of quarters of an hour in pages
    exchange.move(advance_seconds=600)
    assert calls_of_a_cycle(services) <= 8


def test_a_venue_that_fails_before_the_opening_is_asked_again_by_the_first_cycle(exchange: Exchange, start: Start) -> None:
    services = start(strategy="sma_cross", strategy_timeframe="15Min")
    services.trading.run_cycle()
    clock = services.alpaca.clock()
    exchange.move(advance_seconds=int((clock.next_close - clock.now).total_seconds()))
    clock = services.alpaca.clock()
    exchange.move(advance_seconds=int((clock.next_open - clock.now).total_seconds()) - 300)
    exchange.fault(what="status", path="/v2/stocks/bars", status=500, times=None)
    assert services.trading.run_cycle().outcome == "market_closed"
    exchange.mend()
    exchange.move(advance_seconds=600)
    assert services.trading.run_cycle().outcome == "completed"


def calls_of_a_cycle(services: Services, outcome: str = "completed") -> int:
    before = services.alpaca.health().calls
    report = services.trading.run_cycle()
    assert (report.outcome, report.orders) == (outcome, 0)
    return services.alpaca.health().calls - before


def test_minute_bars_are_traded_as_a_tape_of_them_says(exchange: Exchange, start: Start) -> None:
    services = start(
        strategy="sma_cross",
        strategy_parameters={"fast": 2, "slow": 6},
        strategy_timeframe="1Min",
        trading_cycle_seconds=60,
    )
    first = services.alpaca.clock().now
    reports = []
    for _ in range(11):
        reports.append(services.trading.run_cycle())
        exchange.move(advance_seconds=60)
    assert {report.outcome for report in reports} == {"completed"}
    assert sum(report.orders for report in reports) >= 5 and services.database.fills(limit=100)

    now = services.alpaca.clock().now
    bars = services.alpaca.bars(timeframe="1Min", start=first - timedelta(minutes=10), end=now)
    panel = align(bars)
    tape = TapedForecaster(find("sma_cross"), {"fast": 2, "slow": 6}, panel)
    rows = services.database.decisions(limit=10_000)
    for row in rows:
        bar = int(np.searchsorted(panel.known_at, int(row.decided_at.timestamp()), side="right")) - 1
        said = tape.score[panel.symbols.index(row.symbol), bar]
        assert row.expected_return == said and row.confidence == 1.0
        assert row.reason == "exact_check" or row.detail.startswith("sma_cross(fast=2, slow=6): fast ")
    assert len(rows) == len(reports) * len(SYMBOLS)
    assert {row.expected_return for row in rows} >= {1.0, -1.0, 0.0}
    inputs = services.database.cycle(rows[0].cycle_id).inputs
    again = from_json(dict(inputs or {}))
    decision = decide(again.view, again.book, again.context, again.limits, again.policy)
    of_cycle = {row.symbol: row.reason for row in rows if row.cycle_id == rows[0].cycle_id}
    assert {record.symbol: record.reason.code for record in decision.records} == of_cycle


def test_across_sessions_only_regular_bars_are_seen(exchange: Exchange, start: Start) -> None:
    services = start(strategy="swing", strategy_timeframe="5Min", trading_cycle_seconds=300)
    for _ in range(2):
        for _ in range(2):
            assert services.trading.run_cycle().outcome == "completed"
            exchange.move(advance_seconds=300)
        exchange.move(next_open=True)
        exchange.move(advance_seconds=300)
    rows = services.database.decisions(limit=10_000)
    assert {row.reason for row in rows} - {"no_forecast"} and all(row.expected_return in {1.0, -1.0, 0.0} for row in rows)


def test_daily_bars_are_traded(exchange: Exchange, start: Start) -> None:
    services = start(strategy="sma_cross", strategy_parameters={"fast": 2, "slow": 5})
    reports = []
    for _ in range(8):
        reports.append(services.trading.run_cycle())
        exchange.move(next_open=True)
        exchange.move(advance_seconds=600)
    assert {report.outcome for report in reports} == {"completed"}
    rows = services.database.decisions(limit=10_000)
    assert sum(report.orders for report in reports) >= 5
    assert {row.reason for row in rows} >= {"buy_signal", "sell_signal"} and {row.expected_return for row in rows} == {-1, 0, 1}
    limits, policy = rules_in_force(services.settings)
    assert (policy.buy_threshold, policy.sell_threshold) == (0.5, -0.5) and services.policy == policy
    assert limits.stop_loss_fraction == find("sma_cross").exits.stop_loss_fraction


def test_a_hybrid_asks_the_models_and_a_strategy_of_ones_own_is_named_by_its_file(
    exchange: Exchange, start: Start, tmp_path: Path
) -> None:
    script = tmp_path / "forecasts.csv"
    script.write_text("symbol,expected_return,confidence\n" + "".join(f"{symbol},0.05,0.9\n" for symbol in SYMBOLS))
    hybrid = start(strategy="confirmed_forecast", forecasts_file=script)
    record = hybrid.trading.signal("AAPL")
    assert set(record.votes) == {"expected", "confidence", "above_mean"} and record.votes["confidence"] == 0.9
    assert hybrid.trading.run_cycle().outcome == "completed"

    StrategyService(tmp_path / "mine").create("my_idea", as_class=True)
    own = start(strategy="my_idea", strategies_dir=tmp_path / "mine")
    assert own.trading.signal("AAPL").detail.startswith("my_idea(length=20): score")


def test_strategies_share_the_account_and_a_restart_knows_whose_each_holding_is(exchange: Exchange, start: Start) -> None:
    shared = "sma_cross(fast=2, slow=5):0.3 momentum:0.4"
    services = start(strategy=shared)
    for number in range(8):
        if number == 4:
            services = start(strategy=shared)
        assert services.trading.run_cycle().outcome == "completed"
        exchange.move(next_open=True)
        exchange.move(advance_seconds=600)
    cycles = [from_json(dict(services.database.cycle(one.cycle_id).inputs or {})) for one in services.database.cycles()]
    spoke: dict[str, str] = {}
    for inputs in sorted(cycles, key=lambda one: one.view.decided_at):
        decision = decide(inputs.view, inputs.book, inputs.context, inputs.limits, inputs.policy)
        records = {record.symbol: record for record in decision.records}
        assert set(inputs.book.positions) <= set(inputs.book.owners)
        for symbol, position in inputs.book.positions.items():
            assert inputs.book.owners[symbol] == records[symbol].strategy == spoke[symbol], position
        spoke |= {v.order.symbol: records[v.order.symbol].strategy for v in decision.orders if v.order.purpose is Purpose.ENTRY}
    assert set(spoke.values()) == {"sma_cross", "momentum"}
    assert any(inputs.book.positions for inputs in cycles)
    rows = services.database.decisions(limit=10_000)
    assert all(row.reason == "exact_check" or row.detail.startswith(("sma_cross", "momentum")) for row in rows)
    assert any("; momentum" in row.detail or "; sma_cross" in row.detail for row in rows)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"strategy": "sma_crss"}, "did you mean sma_cross"),
        ({"strategy": "sma_cross", "strategy_parameters": {"fast": 50}}, "fast: 50 must be less than slow"),
        ({"strategy": "sma_cross", "strategy_parameters": {"speed": 1}}, "no such parameter"),
        ({"strategy": "sma_cross:0.7 rsi:0.5"}, "1.2 of the equity together"),
        ({"strategy": "ensemble:0.5 rsi:0.5"}, "trades with the whole account"),
        (
            {"strategy": "confirmed_forecast", "strategy_timeframe": "1Min", "trading_cycle_seconds": 60},
            "uses forecasts of daily bars",
        ),
    ],
)
def test_a_strategy_that_cannot_trade_is_refused_at_the_start(
    chosen: dict[str, Any], words: str, exchange: Exchange, start: Start
) -> None:
    with pytest.raises(ConfigurationError, match="STRATEGY") as refusal:
        start(**chosen)
    assert words in refusal.value.message


def test_holdings_are_protected_whatever_became_of_the_strategys_file(exchange: Exchange, tmp_path: Path) -> None:
    settings = settings_of(exchange, tmp_path, strategy="gone", risk_stop_loss_pct=-0.03)
    looked = iter([False, True])
    build_guard(settings).run(lambda: next(looked), lambda _: None)
    (told,) = open_without_migrating(settings).outbox_pending(10)
    assert "RISK_STOP_LOSS_PCT" in told.message and "gone" in told.message


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"strategy_parameters": '{"fast": 5'}, "not JSON"),
        ({"strategy_parameters": '{"fast": "5"}'}, "object of numbers"),
        ({"strategy_parameters": "[1]"}, "object of numbers"),
        ({"strategy_parameters": '{"fast": true}'}, "object of numbers"),
        ({"strategy_parameters": {"fast": 5}}, "STRATEGY_PARAMETERS is for another strategy"),
        ({"strategy_timeframe": "1Min"}, "STRATEGY_TIMEFRAME is for another strategy"),
        ({"strategy": "swing", "strategy_timeframe": "1Min"}, "set it to 60 or less"),
        ({"strategy": "swing", "strategy_timeframe": "2Min"}, "1Min"),
    ],
)
def test_wrong_settings_of_the_strategy_are_named(chosen: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)strategy") as refusal:
        Settings(_env_file=None, **chosen)
    assert words in str(refusal.value)


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRATEGY", "sma_cross")
    monkeypatch.setenv("STRATEGY_PARAMETERS", '{"fast": 3, "slow": 9}')
    read = Settings(_env_file=None)
    assert (read.strategy, read.strategy_parameters, read.strategy_timeframe) == ("sma_cross", {"fast": 3, "slow": 9}, "1Day")
