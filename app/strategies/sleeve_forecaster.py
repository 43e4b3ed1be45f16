"""Several strategies asked as one `Forecaster`: what each of them says of every symbol."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from app.domain.bar import BarSeries
from app.domain.forecast import Forecaster, SleeveAnswers, said_by


class SleeveForecaster:
    """forecasters: by the name of their strategy, all of the same bars."""

    def __init__(self, forecasters: Mapping[str, Forecaster]) -> None:
        self._forecasters = dict(forecasters)

    def forecast(self, bars: Mapping[str, BarSeries], at: datetime) -> dict[str, SleeveAnswers]:
        """The answers of every strategy, by symbol."""
        told = {name: one.forecast(bars, at) for name, one in self._forecasters.items()}
        answers = {}
        for symbol in bars:
            said = {name: said_by(of.get(symbol), name) for name, of in told.items()}
            known = {name: answer for name, answer in said.items() if answer is not None}
            answers[symbol] = SleeveAnswers(symbol=symbol, by_strategy=known)
        return answers
