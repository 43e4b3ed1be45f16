"""A panel keeps every bar in its place, and its digest names the data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.bar import BarSeries
from app.domain.errors import InvalidInput
from app.domain.panel import align


def series(symbol: str, days: list[int], timeframe: str = "1Day") -> BarSeries:
    at = np.array(days, dtype=np.int64) * 86_400
    price = np.array([100.0 + day + len(symbol) for day in days])
    return BarSeries(
        symbol=symbol, timeframe=timeframe, timestamp=at, known_at=at + 3600, open=price, high=price + 1, low=price - 1,
        close=price + 0.5, volume=price * 10,
    )  # fmt: skip


DAYS = st.lists(st.integers(1, 60), min_size=1, max_size=20, unique=True).map(sorted)


@given(st.dictionaries(st.sampled_from(["A", "BB", "CCC"]), DAYS, min_size=1))
def test_every_bar_is_where_its_time_is_and_nothing_else_is_there(days: dict[str, list[int]]) -> None:
    panel = align({symbol: series(symbol, mine) for symbol, mine in days.items()})
    assert panel.symbols == tuple(days) and list(panel.timestamp) == sorted(set(panel.timestamp))
    for row, (symbol, mine) in enumerate(days.items()):
        there = np.isfinite(panel.close[row])
        assert (panel.timestamp[there] // 86_400).tolist() == mine
        assert np.array_equal(panel.close[row][there], series(symbol, mine).close)
    assert np.array_equal(panel.known_at, panel.timestamp + 3600)


def test_the_digest_depends_on_every_number_and_on_nothing_else() -> None:
    panel = align({"A": series("A", [1, 2, 4]), "B": series("B", [2, 3])})
    again = align({"A": series("A", [1, 2, 4]), "B": series("B", [2, 3])})
    assert panel.digest() == again.digest()
    assert replace(panel, open=np.asfortranarray(panel.open)).digest() == panel.digest()
    for name in ("open", "high", "low", "close", "volume"):
        other = getattr(panel, name).copy()
        other[0, 0] = np.nextafter(other[0, 0], np.inf)
        assert replace(panel, **{name: other}).digest() != panel.digest()
    assert replace(panel, symbols=("A", "C")).digest() != panel.digest()
    assert panel.slice(0, 3).digest() != panel.digest()


def test_what_cannot_be_aligned_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no symbols"):
        align({})
    with pytest.raises(InvalidInput, match="one timeframe"):
        align({"A": series("A", [1]), "B": series("B", [1], "1Hour")})
    late = replace(series("B", [1]), known_at=np.array([999_999], dtype=np.int64))
    with pytest.raises(InvalidInput, match="B: its bars were complete at other times"):
        align({"A": series("A", [1]), "B": late})
