"""The generated market: reproducible, independent per symbol, and shaped like stocks."""

import time
from datetime import date

import numpy as np
import pytest

from app.config import DEFAULT_WATCHLIST
from app.engine.path import on_tick
from app.marketdata.generator import generate_daily
from app.runtime.calendar import new_york_calendar

SYMBOLS = tuple(DEFAULT_WATCHLIST.split())


@pytest.fixture(scope="module")
def sessions():
    return new_york_calendar().between(date(2012, 1, 1), date(2023, 12, 31))


@pytest.fixture(scope="module")
def market(sessions):
    return generate_daily(7, SYMBOLS, sessions)


def test_a_symbol_depends_on_neither_the_others_nor_the_length(sessions, market):
    alone = generate_daily(7, ["TSLA"], sessions[:700])["TSLA"]
    both = market["TSLA"].slice(0, 700)
    for name in ("timestamp", "known_at", "open", "high", "low", "close", "volume"):
        assert np.array_equal(getattr(alone, name), getattr(both, name)), name
    assert not np.array_equal(generate_daily(8, ["TSLA"], sessions[:700])["TSLA"].close, alone.close)


def test_bars_are_sound(market):
    for bars in market.values():
        assert (bars.low > 0).all()
        assert (bars.high >= np.maximum(bars.open, bars.close)).all()
        assert (bars.low <= np.minimum(bars.open, bars.close)).all()
        assert (bars.volume > 0).all()
        assert np.array_equal(bars.close, on_tick(bars.close))
        assert (np.diff(bars.timestamp) > 0).all()
        assert (bars.known_at > bars.timestamp).all()


def test_returns_look_like_stocks(market):
    returns = np.stack([np.diff(np.log(bars.close)) for bars in market.values()])
    deviation = returns.std(axis=1)
    assert 0.008 < deviation.min() < deviation.max() < 0.05
    pairs = np.corrcoef(returns)[np.triu_indices(len(returns), 1)]
    assert 0.1 < pairs.mean() < 0.6
    centred = returns - returns.mean(axis=1, keepdims=True)
    kurtosis = (centred**4).mean(axis=1) / (centred**2).mean(axis=1) ** 2
    assert np.median(kurtosis) > 4  # fat tails; a normal has 3
    sizes = np.abs(centred)
    clustering = np.mean([np.corrcoef(x[1:], x[:-1])[0, 1] for x in sizes])
    assert clustering > 0.08
    reversal = np.mean([np.corrcoef(x[1:], x[:-1])[0, 1] for x in returns])
    assert -0.2 < reversal < -0.02  # the predictable part, mild
    gaps = np.stack([np.log(b.open[1:] / b.close[:-1]) for b in market.values()])
    assert 0.2 < gaps.std() / returns.std() < 0.9


def test_it_is_fast(sessions):
    began = time.process_time()
    generate_daily(9, SYMBOLS, sessions)
    assert time.process_time() - began < 1.0
