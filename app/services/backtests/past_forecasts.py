"""What models would have said at each close of the past: the forecasts that a strategy on bars mixes with its rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.backtest.tape import Hours
from app.domain.bar import BarSeries
from app.domain.forecast import Answer, Forecaster
from app.strategies.forecasts import Forecasts, history

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Close:
    """A close as the moment of decision. Models are made ready before a session opens; on daily bars nothing becomes known
    between a close and the next opening, so those made ready at the close are the same."""

    opens_at: datetime


def closes_of(sessions: Sequence[Hours]) -> list[Close]:
    """The moments at which a strategy on daily bars decides."""
    return [Close(hours.closes_at) for hours in sessions]


def forecasts_at(closes: Sequence[Close], bars: Mapping[str, BarSeries], models: Forecaster, progress: Progress) -> Forecasts:
    """The models' answers at each close by when the bar behind each became known. bars: daily, by symbol.

    progress(closes done, of, day) comes after each; what it raises ends the work."""
    answers: dict[str, dict[int, Answer]] = {symbol: {} for symbol in bars}
    for done, close in enumerate(closes, start=1):
        known = {symbol: series.known_by(close.opens_at) for symbol, series in bars.items()}
        for symbol, answer in models.forecast(known, close.opens_at).items():
            if len(known[symbol]):
                answers[symbol][int(known[symbol].known_at[-1])] = answer
        progress(done, len(closes), f"{close.opens_at:%Y-%m-%d}")
    return {symbol: history(found) for symbol, found in answers.items()}
