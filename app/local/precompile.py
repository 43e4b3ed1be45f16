"""Compile, ahead of the first cycle, what a cycle runs: `python -m app.local.precompile`, once per image.

A fresh container that compiled inside its first cycle would, on a busy machine, spend more than the cycle's 90 s on it. What is
compiled is kept in COMPILED_CACHE_DIR, for this processor; on another one it is compiled again, as without this.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path

from app.domain.bar import BarSeries, Snapshot
from app.domain.forecast import Answer
from app.domain.instrument import Instrument
from app.domain.trading_state import RiskState, TradingState
from app.engine.decide import decide
from app.engine.decision import Book, Context
from app.engine.view import market_view
from app.marketdata.generator import generate_daily
from app.risk.limits import Policy, RiskLimits
from app.runtime.calendar import new_york_calendar
from app.services.ai_service import AIService
from app.storage.model_files import ModelFiles
from app.storage.param_files import ParamFiles

SYMBOLS = ("SPY",)
FIRST, LAST = date(2022, 1, 3), date(2024, 1, 2)
CASH = Decimal(100_000)


def precompile() -> int:
    """Train a model, forecast and decide once, on a generated market and in a directory that is gone afterwards. How many
    symbols were judged by a model."""
    sessions = new_york_calendar().between(FIRST, LAST)
    bars = generate_daily(7, SYMBOLS, sessions)
    at = sessions[-1].closes_at
    with tempfile.TemporaryDirectory() as name:
        models = AIService(ModelFiles(Path(name) / "models"), ParamFiles(Path(name) / "params"))
        reports = models.train_batch(bars, at=at, progress=lambda *_: None)
        answers = models.forecast(bars, at)
    _decide(bars, answers)
    return sum(report.trained for report in reports)


def _decide(bars: Mapping[str, BarSeries], answers: Mapping[str, Answer]) -> None:
    at = new_york_calendar().between(LAST, LAST)[-1].closes_at
    risk = RiskState(
        trading_state=TradingState.ACTIVE,
        cause="",
        actor="system",
        since=at,
        baseline_equity=CASH,
        baseline_session=LAST.isoformat(),
        high_water_equity=CASH,
    )
    book = Book(
        session=LAST.isoformat(),
        cash=CASH,
        equity=CASH,
        previous_close_equity=CASH,
        buying_power=CASH,
        positions={},
        open_orders=(),
        risk=risk,
    )
    view = market_view(
        decided_at=at,
        symbols=SYMBOLS,
        snapshots={symbol: Snapshot(symbol=symbol, price=float(one.close[-1]), priced_at=at) for symbol, one in bars.items()},
        bars=bars,
        forecasts=answers,
        is_open=True,
    )
    instruments = {symbol: Instrument(symbol=symbol) for symbol in SYMBOLS}
    context = Context(account_id="none", strategy="none", cycle_id="none", instruments=instruments)
    decide(view, book, context, RiskLimits(), Policy())


if __name__ == "__main__":
    print(f"compiled; {precompile()} of {len(SYMBOLS)} models trained on the way")  # noqa: T201 - a step of the image's build
