"""A small generated market and forecasters that need no models."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal

from app.backtest.driver import Grain, Plan
from app.backtest.tape import DailyTape
from app.domain.bar import BarSeries
from app.domain.forecast import Forecast, NoForecast
from app.engine.costs import CostModel
from app.marketdata.generator import generate_daily
from app.risk.limits import Policy, RiskLimits
from app.runtime.calendar import Session, new_york_calendar

SYMBOLS = ("AAPL", "MSFT", "GOOGL", "TSLA", "SPY", "NVDA", "AMZN", "META", "NFLX", "AMD", "JNJ", "UNH")
HISTORY = 60


class NoisyForecaster:
    """Forecasts drawn from (symbol, day): anything may happen, the same every time."""

    def __init__(self, scale: float = 0.03) -> None:
        self._scale = scale

    def forecast(self, bars: Mapping[str, BarSeries], at: datetime) -> dict[str, Forecast | NoForecast]:
        return {symbol: self._one(symbol, series.known_by(at)) for symbol, series in bars.items()}

    def _one(self, symbol: str, bars: BarSeries) -> Forecast:
        digest = hashlib.blake2b(f"{symbol}|{bars.timestamp[-1]}".encode(), digest_size=8).digest()
        number = int.from_bytes(digest[:4]) / 2**32
        certain = int.from_bytes(digest[4:]) / 2**32
        daily = self._scale * (2 * number - 1)
        return Forecast(
            symbol=symbol,
            daily_return=daily,
            confidence=0.5 + certain / 2,
            members=(daily,) * 6,
            last_close=float(bars.close[-1]),
            last_close_at=datetime.fromtimestamp(int(bars.known_at[-1]), UTC),
            model="noise",
        )


def sessions_of(count: int, *, first: date = date(2024, 1, 2)) -> list[Session]:
    return new_york_calendar().between(first, date(2025, 12, 31))[: HISTORY + count]


def market(count: int, *, seed: int = 3, symbols: tuple[str, ...] = SYMBOLS) -> tuple[dict[str, BarSeries], list[Session]]:
    """Bars over HISTORY + count sessions, and the last `count` sessions."""
    sessions = sessions_of(count)
    return generate_daily(seed, symbols, sessions), sessions[HISTORY:]


def tape_of(count: int, *, seed: int = 3) -> DailyTape:
    bars, sessions = market(count, seed=seed)
    return DailyTape(bars, sessions, seed=seed)


def plan_of(**changes: object) -> Plan:
    base: dict[str, object] = {
        "symbols": SYMBOLS,
        "capital": Decimal(100_000),
        "limits": RiskLimits(),
        "policy": Policy(),
        "costs": CostModel(),
        "grain": Grain.CYCLE,
        "cycle_seconds": 600,
    }
    return Plan(**(base | changes))  # type: ignore[arg-type]
