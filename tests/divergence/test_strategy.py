"""A rule strategy on five-minute bars comes out the same when its scores are made anew from the venue's bars."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

from app.backtest.divergence.redecide import Cause
from app.domain.bar import BarSeries
from app.engine.strategy_rules import strategy_policy
from app.risk.limits import Policy, RiskLimits
from app.runtime.clock import WallClock
from app.services.backtests.divergence_service import DivergenceService
from app.services.database_service import DatabaseService
from app.services.trading.market_collector import MarketCollector
from app.services.trading_service import TradingService
from app.storage.database import Database
from app.strategies.catalog import find
from app.strategies.forecaster import StrategyForecaster
from tests.trading.exchange import SYMBOLS, build_system, serve_exchange

DAY = date(2024, 1, 3)


def test_scores_are_made_anew_from_the_bars_of_their_timeframe(tmp_path: Path) -> None:
    strategy = find("donchian_breakout")
    values = {"entry": 6, "exit": 3}
    judge = StrategyForecaster(strategy, values)
    database = DatabaseService(Database(f"sqlite:///{tmp_path / 'ledger.db'}"), WallClock())
    database.migrate()
    with serve_exchange() as exchange:
        exchange.move(next_open=True)
        exchange.move(advance_seconds=7200)
        system = build_system(exchange, database, tmp_path, forecaster=judge)
        system.trading = TradingService(
            venue=system.venue,
            forecaster=judge,
            risk=system.risk,
            database=database,
            clock=WallClock(),
            symbols=SYMBOLS,
            limits=RiskLimits(),
            policy=strategy_policy(strategy, values, Policy()),
            cycle_seconds=600,
            strategy=strategy.name,
            live_bars=MarketCollector(system.venue, timeframe="5Min", count=judge.memory).bars,
        )
        assert {report.outcome for report in system.cycles(3)} == {"completed"}
        system.trading.reconcile()

        def bars(until: datetime, sessions: int) -> dict[str, BarSeries]:
            return MarketCollector(system.venue, timeframe="5Min", count=judge.memory + 390 * sessions).bars(until)

        service = DivergenceService(database=database, venue=system.venue, forecaster=judge, judged_bars=bars)
        found = service.report(DAY, DAY).found
        assert found.differences == ()
        assert found.unjudged_forecasts == 0
        assert len(database.fills(limit=100)) > 0
        shifted = DivergenceService(
            database=database,
            venue=system.venue,
            forecaster=judge,
            judged_bars=lambda until, sessions: {
                s: replace(b, high=b.high[::-1].copy(), low=b.low[::-1].copy(), close=b.close[::-1].copy())
                for s, b in bars(until, sessions).items()
            },
        ).report(DAY, DAY)
        assert shifted.found.differing_decisions > 0
        assert {one.cause for one in shifted.found.differences} == {Cause.SIGNAL}
    database.close()
