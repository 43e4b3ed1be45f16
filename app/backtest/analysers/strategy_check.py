"""A strategy before the analysers: its columns, score and live answer, on whole data and with gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from app.backtest.analysers.futures import Bars, holed, instants, split_later
from app.backtest.analysers.lookahead import (
    Finding,
    Findings,
    Part,
    Progress,
    Table,
    Tables,
    answer,
    compare,
    look,
    newest_differs,
    newest_needs,
)
from app.domain.bar import BarSeries, Floats, Seconds
from app.domain.errors import InvalidInput
from app.domain.forecast import Answer, Forecast, Score
from app.domain.panel import Panel, align
from app.strategies.forecaster import StrategyForecaster
from app.strategies.forecasts import ForecastHistory, Forecasts, Hybrid
from app.strategies.strategy import Strategy, Values, evaluated

COLUMNS, SCORE, LIVE, RESTATED, MEMORY = "columns", "score", "live", "restated", "memory"
INSTANTS = 8
WARMUP_INSTANTS = 4


def strategy_chain(strategy: Strategy, values: Values) -> tuple[Part, Part, Part]:
    """Its columns, the score from them, and what a live cycle is answered. values: complete (see
    `app.strategies.strategy.checked`). A hybrid is given forecasts that a stand-in makes of the same bars."""

    def panel_of(bars: Bars) -> tuple[Panel, dict[str, Floats], Floats]:
        panel = align(bars)
        given = strategy.with_forecasts(_stand_in_history(bars)) if isinstance(strategy, Hybrid) else strategy
        return panel, *evaluated(given, panel, values)

    def columns(bars: Bars, at: datetime) -> Tables:  # noqa: ARG001 - a strategy takes what it is given for known
        panel, made, _ = panel_of(bars)
        return _tables(panel, made)

    def score(bars: Bars, at: datetime) -> Tables:  # noqa: ARG001
        panel, _, made = panel_of(bars)
        return _tables(panel, {SCORE: made})

    def live(bars: Bars, at: datetime) -> Tables:
        answers = StrategyForecaster(strategy, values, models=_StandIn()).forecast(bars, at)
        second = np.array([int(at.timestamp())], dtype=np.int64)
        return {symbol: Table(key=second, known_at=second, columns=_said(answer)) for symbol, answer in answers.items()}

    return Part(name=COLUMNS, of=columns), Part(name=SCORE, of=score), Part(name=LIVE, of=live)


class _StandIn:
    """In the place of the models: a forecast drawn from the label of the newest known bar."""

    def forecast(self, bars: Bars, at: datetime) -> dict[str, Answer]:
        known = {symbol: series.known_by(at) for symbol, series in bars.items()}
        return {symbol: self.of(series) for symbol, series in known.items() if len(series) and series.close[-1] > 0.0}

    @staticmethod
    def of(known: BarSeries) -> Forecast:
        daily = float(_drawn(known.timestamp[-1:])[0])
        return Forecast(
            symbol=known.symbol,
            daily_return=daily,
            confidence=0.9,
            members=(daily,) * 2,
            last_close=float(known.close[-1]),
            last_close_at=datetime.fromtimestamp(int(known.known_at[-1]), UTC),
            model="stand-in",
        )


def _stand_in_history(bars: Bars) -> Forecasts:
    return {
        symbol: ForecastHistory(
            known_at=series.known_at,
            target=series.close * (1.0 + _drawn(series.timestamp)),
            confidence=np.full(len(series), 0.9),
        )
        for symbol, series in bars.items()
    }


def _drawn(label: Seconds) -> Floats:
    """Returns of up to 3 % either way, a function of the label alone."""
    return (label // 60 % 61 - 30) / 1_000.0


def _said(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Score):
        return {SCORE: np.array([answer.score]), "as_of": np.array([answer.as_of.isoformat()], dtype=object)}
    return {"refused": np.array([getattr(answer, "code", "")], dtype=object)}


def check_lookahead(
    strategy: Strategy,
    values: Values,
    bars: Bars,
    *,
    progress: Progress = lambda _done, _total, _what: None,
) -> Findings:
    """Columns, score and live answer with the future cut off or replaced, on these bars and on the same with gaps and late
    listings; the score once more with prices and volumes as a later split of two for one would restate them."""
    chain, memory = strategy_chain(strategy, values), strategy.memory(values)
    recent = _recent(bars, memory)
    at = _instants(recent, memory)
    total = 2 * len(chain) * len(at) + 1
    found = look(strategy.name, chain, recent, at, progress=lambda done, _, what: progress(done, total, what))
    gaps = holed(recent)
    more = look(
        strategy.name,
        chain,
        gaps,
        [*at, *_in_gaps(gaps)],
        progress=lambda done, _, what: progress(total // 2 + min(done, total // 2), total, f"{what}, with gaps"),
    )
    newest = datetime.fromtimestamp(max(int(s.known_at[-1]) for s in recent.values()), UTC)
    score = chain[1]
    split = compare(RESTATED, "split later", answer(score, recent, newest), answer(score, split_later(recent), newest), newest)
    progress(total, total, RESTATED)
    return replace(
        found,
        parts=(*found.parts, RESTATED),
        findings=_first_of_each([*found.findings, *more.findings, *split[1]]),
        compared=found.compared + more.compared + split[0],
    )


def check_warmup(
    strategy: Strategy,
    values: Values,
    bars: Bars,
    *,
    progress: Progress = lambda _done, _total, _what: None,
) -> Findings:
    """Whether the last `memory` bars, and a few lengths above, give the newest score of all bars; and how many bars each column
    really needs. Only the score is bound by the declared memory."""
    chain, memory = strategy_chain(strategy, values), strategy.memory(values)
    if memory < 1:
        raise InvalidInput(f"{strategy.name} declares a memory of {memory} bars; the newest bar is one, so give 1 at least")
    recent = _recent(bars, memory)
    at = _instants(recent, memory)
    lengths = (memory, memory + 1, 2 * memory, 3 * memory + 7)
    total = len(at) + 1
    compared, found = 0, list[Finding]()
    for done, instant in enumerate(at, start=1):
        for length in lengths:
            count, differing = newest_differs(chain[1], recent, instant, length)
            compared += count
            found += differing
        progress(done, total, MEMORY)
    needs: dict[str, int | None] = {}
    for part in (chain[1], chain[0]):
        needs |= newest_needs(part, recent, at[-WARMUP_INSTANTS:], most=3 * memory + 7)
        progress(total, total, part.name)
    return Findings(
        subject=strategy.name,
        parts=(MEMORY,),
        findings=_first_of_each(found),
        compared=compared,
        bars=max(len(series) for series in recent.values()),
        needs=needs,
        notes=(f"declared memory: {memory} bars",),
    )


def _tables(panel: Panel, columns: dict[str, Floats]) -> Tables:
    return {
        symbol: Table(
            key=panel.timestamp,
            known_at=panel.known_at,
            columns={column: np.asarray(values, dtype=np.float64)[row] for column, values in columns.items()},
        )
        for row, symbol in enumerate(panel.symbols)
    }


def _recent(bars: Bars, memory: int) -> Bars:
    """As many of the newest bars as the comparison needs; more cost time and show nothing new."""
    wanted = max(600, 6 * memory)
    return {symbol: series.last(wanted) for symbol, series in bars.items()}


def _instants(bars: Bars, memory: int) -> list[datetime]:
    found = instants(bars, first=memory, count=INSTANTS)
    if not found:
        longest = max((len(series) for series in bars.values()), default=0)
        raise InvalidInput(f"{longest} bars are too few for a memory of {memory} bars: give more than {memory + 1}")
    return found


def _in_gaps(bars: Bars) -> list[datetime]:
    """An instant before the late listings, and one inside each gap."""
    longest = max(bars.values(), key=len)
    places = (len(longest) // 4, len(longest) // 2 + 1, 4 * len(longest) // 5 + 1)
    return [datetime.fromtimestamp(int(longest.known_at[place]), UTC) for place in places]


def _first_of_each(found: Sequence[Finding]) -> tuple[Finding, ...]:
    kept: dict[tuple[str, str, str], Finding] = {}
    for one in found:
        kept.setdefault((one.part, one.symbol, one.column), one)
    return tuple(kept.values())
