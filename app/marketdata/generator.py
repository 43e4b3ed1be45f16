"""A generated market: daily bars that look like stocks, from a seed.

Log returns are a market factor, a sector factor and a symbol's own part. Each has Student-t shocks and a volatility of its
own that clusters (GARCH(1,1), Bollerslev 1986); the market also switches between a calm and a nervous regime. Overnight
gaps, intraday ranges and volumes follow the day's volatility.

It is predictable on purpose, mildly: a symbol's own part reverts (`REVERSAL` of the last own return comes back the next
day) and carries a slow drift that lasts for weeks (`TREND_*`). Together they explain about four percent of the variance
of daily returns, so that models have something honest to find. Real markets offer less.

Every symbol depends on (seed, symbol, first session) alone: not on which others are asked for, nor on how many sessions.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np

from app.domain.bar import DAILY, BarSeries, Floats
from app.engine.path import on_tick
from app.runtime.calendar import Session, midnight_new_york

GENERATOR_VERSION = 1  # raised when the same seed gives another market
REVERSAL = 0.15
TREND_MEMORY = 0.97
TREND_STEP = 0.0007
_SECTORS = 8
_TAIL_DEGREES = 5.0
_ALPHA, _BETA = 0.08, 0.90
_MARKET_VOLATILITY, _SECTOR_VOLATILITY = 0.008, 0.006
_MARKET_DRIFT = 0.0003
_NERVOUS = 1.9
_TO_NERVOUS, _TO_CALM = 0.008, 0.04


def generate_daily(seed: int, symbols: Sequence[str], sessions: Sequence[Session]) -> dict[str, BarSeries]:
    """Daily bars of `symbols` over `sessions` (in order); prices on the US tick, whole volumes."""
    n = len(sessions)
    label = np.array([int(midnight_new_york(s.day).timestamp()) for s in sessions], dtype=np.int64)
    known = np.array([int(s.closes_at.timestamp()) for s in sessions], dtype=np.int64)
    names = list(dict.fromkeys(symbols))
    if not names or not n:
        return {}
    regime = _regime(_stream(seed, "regime").random(n))
    market = _garch(_shocks(seed, ["market"], n), np.array([_MARKET_VOLATILITY]), regime)[0][:, 0] + _MARKET_DRIFT
    sector_names = [f"sector-{i}" for i in range(_SECTORS)]
    sectors, _ = _garch(_shocks(seed, sector_names, n), np.full(_SECTORS, _SECTOR_VOLATILITY), regime)

    traits = np.stack([_stream(seed, f"{name}|traits").random(6) for name in names])  # (n_symbols, 6)
    own_volatility = 0.008 + 0.012 * traits[:, 0]
    shocks, sizes = _garch(_shocks(seed, names, n), own_volatility, regime)
    own = _predictable(shocks, np.stack([_stream(seed, f"{name}|trend").standard_normal(n) for name in names], axis=1))
    beta = 0.6 + 0.9 * traits[:, 1]
    returns = beta * market[:, None] + sectors[:, (traits[:, 2] * _SECTORS).astype(int)] + own
    returns = np.clip(returns, -0.35, 0.35)
    volatility = np.sqrt(sizes**2 + (beta * _MARKET_VOLATILITY * regime[:, None]) ** 2 + _SECTOR_VOLATILITY**2)

    first_price = 20.0 * np.exp(2.6 * traits[:, 3])
    close = first_price * np.exp(np.cumsum(returns, axis=0))
    before = np.vstack([first_price, close[:-1]])
    return {
        name: BarSeries(
            symbol=name,
            timeframe=DAILY,
            timestamp=label,
            known_at=known,
            **_day_shape(
                seed,
                name,
                before=before[:, i],
                close=close[:, i],
                returns=returns[:, i],
                volatility=volatility[:, i],
                liquidity=float(traits[i, 4]),
            ),
        )
        for i, name in enumerate(names)
    }


_SYMBOL = re.compile(r"[A-Z]{1,5}(\.[A-Z]{1,2})?")
_UNLISTED = 256


class GeneratedBars(Mapping[str, BarSeries]):
    """Daily bars of a generated market by symbol; iterates over the listed ones, which are made at once.

    any_symbol: every other well-formed symbol is made when it is asked for, the same each time.
    """

    def __init__(self, seed: int, symbols: Sequence[str], sessions: Sequence[Session], *, any_symbol: bool) -> None:
        self._listed = generate_daily(seed, symbols, sessions)
        self._any_symbol = any_symbol
        self._unlisted = lru_cache(maxsize=_UNLISTED)(lambda symbol: generate_daily(seed, (symbol,), sessions)[symbol])

    def __getitem__(self, symbol: str) -> BarSeries:
        if symbol in self._listed:
            return self._listed[symbol]
        if symbol not in self:
            raise KeyError(symbol)
        return self._unlisted(symbol)

    def __contains__(self, symbol: object) -> bool:
        well_formed = self._any_symbol and isinstance(symbol, str) and _SYMBOL.fullmatch(symbol) is not None
        return symbol in self._listed or well_formed

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)


def _stream(seed: int, purpose: str) -> np.random.Generator:
    key = hashlib.blake2b(f"{seed}|{purpose}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(key, "big")))


def _shocks(seed: int, names: list[str], n: int) -> Floats:
    """Student-t shocks of unit variance, shape (n_sessions, n_names); a column depends on its name alone."""
    scale = np.sqrt((_TAIL_DEGREES - 2.0) / _TAIL_DEGREES)
    return np.stack([_stream(seed, f"{name}|shock").standard_t(_TAIL_DEGREES, n) * scale for name in names], axis=1)


def _regime(draws: Floats) -> Floats:
    """Volatility multiplier per session, shape (n_sessions,): a two-state Markov chain, calm first."""
    nervous, level = False, np.empty_like(draws)
    for t, draw in enumerate(draws):
        if draw < (_TO_CALM if nervous else _TO_NERVOUS):
            nervous = not nervous
        level[t] = _NERVOUS if nervous else 1.0
    return level


def _garch(shocks: Floats, volatility: Floats, regime: Floats) -> tuple[Floats, Floats]:
    """Returns and their volatilities, both (n_sessions, n_names), of long-run `volatility` times the regime."""
    variance, long_run = volatility**2, volatility**2
    returns, sizes = np.empty_like(shocks), np.empty_like(shocks)
    for t in range(len(shocks)):
        sizes[t] = np.sqrt(variance)
        squared = variance * np.minimum(shocks[t] ** 2, 25.0)
        returns[t] = sizes[t] * shocks[t]
        variance = (1.0 - _ALPHA - _BETA) * long_run + _ALPHA * squared + _BETA * variance
    return returns * regime[:, None], sizes * regime[:, None]


def _predictable(shocks: Floats, steps: Floats) -> Floats:
    """Own returns, shape (n_sessions, n_symbols): shocks plus what the past gives away."""
    own, last, trend = np.empty_like(shocks), np.zeros(shocks.shape[1]), np.zeros(shocks.shape[1])
    for t in range(len(shocks)):
        last = shocks[t] - REVERSAL * last + trend
        own[t] = last
        trend = TREND_MEMORY * trend + TREND_STEP * steps[t]
    return own


def _day_shape(
    seed: int, name: str, *, before: Floats, close: Floats, returns: Floats, volatility: Floats, liquidity: float
) -> dict[str, Floats]:
    """Open, high, low, close, volume of shape (n_sessions,) around closes: the gap takes a share of the day's move."""
    n = len(close)
    gap = _stream(seed, f"{name}|gap").standard_normal(n)
    reach = _stream(seed, f"{name}|reach").standard_normal((n, 2))
    busy = _stream(seed, f"{name}|volume").standard_normal(n)
    opened = before * np.exp(0.35 * returns + 0.35 * volatility * gap)
    high = np.maximum(opened, close) * np.exp(0.45 * volatility * np.abs(reach[:, 0]))
    low = np.minimum(opened, close) * np.exp(-0.45 * volatility * np.abs(reach[:, 1]))
    units = 2e8 * np.exp(2.5 * liquidity) / close[0]
    volume = units * np.exp(0.25 * busy + 0.35 * np.minimum(np.abs(returns) / volatility, 4.0))
    return {
        "open": on_tick(opened),
        "high": on_tick(high),
        "low": on_tick(low),
        "close": on_tick(close),
        "volume": np.rint(volume),
    }
