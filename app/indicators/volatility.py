"""How much a price moves: bands."""

from __future__ import annotations

from app.domain.bar import Floats
from app.indicators.window import deviation, mean


def bollinger(close: Floats, length: int = 20, width: float = 2.0) -> tuple[Floats, Floats, Floats]:
    """Lower band, middle and upper band in price units: mean -/+ width population deviations. Memory: length bars."""
    middle = mean(close, length)
    half = width * deviation(close, length)
    return middle - half, middle, middle + half
