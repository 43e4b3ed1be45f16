"""What a strategy would have earned with each of many parameter sets on a span of bars: what searches and windows judge by.

Every symbol is traded by itself with an equal part of the capital, by the compiled kernel (`.kernel`). The parts
are not rebalanced; the account's equity is their sum. What only the whole account knows (risk rules, exposure, whole shares)
belongs to the portfolio backtest, not here.

A span starts flat: bars before it only feed the columns, decisions fall on its bars, and the last of these decides on nothing
(there is no bar of the span left to fill it), so spans that follow each other share no return.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from app.backtest.compiled.instrument import FillRule, Instrument, Setup, exits_of, instrument, votes_of
from app.backtest.compiled.kernel import walk
from app.backtest.compiled.kernel_terms import Terms
from app.backtest.compiled.sweep import Watched, sweep
from app.backtest.statistics.periods import Year, day_ends, year_of
from app.domain.bar import DAILY, Floats
from app.domain.errors import InvalidInput
from app.domain.panel import Panel
from app.strategies.strategy import Columns, Strategy, Values

Integers = npt.NDArray[np.int64]
Progress = Callable[[int, int, str], None]

_NO_SPOTS, _NO_AMOUNTS = np.empty((0, 4), dtype=np.int64), np.empty((0, 4))


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Of several parameter sets on one span. returns: (n_sets, n_observations), of the account from one observation to the
    next. known_at: (n_observations,), when each was complete, seconds. trades, wins: (n_sets,), closed round trips, and those
    with a profit after costs. year: how many observations make one."""

    returns: Floats
    known_at: Integers
    trades: Integers
    wins: Integers
    year: Year


class Figures(NamedTuple):
    """Of one set on one span. mean, deviation (sample), skewness, kurtosis (3 for a normal one): of the returns. sharpe: of a
    year, against zero. max_drawdown: a magnitude, at the ends of observations. win_rate: None without trades."""

    observations: int
    mean: float
    deviation: float
    skewness: float
    kurtosis: float
    total_return: float
    sharpe: float
    max_drawdown: float
    trades: int
    win_rate: float | None


def observed(panel: Panel, start: int, stop: int) -> Integers:
    """Bars at whose ends the account is looked at: each daily bar, or the last bar of each day in UTC, after bar `start` up to
    bar `stop` (the first one behind the span), which ends the last return."""
    bars = np.arange(start + 1, min(stop, len(panel) - 1) + 1)
    return bars if panel.timeframe == DAILY else bars[day_ends(panel.known_at[bars])]


def evaluate(
    strategy: Strategy,
    panel: Panel,
    sets: Sequence[Values],
    setup: Setup,
    *,
    start: int,
    stop: int,
    threads: int = 1,
    progress: Progress = lambda _done, _total, _message: None,
) -> Evaluation:
    """Every set on bars start <= i < stop of `panel`. sets: complete and checked. progress comes after every few sets; what it
    raises ends the work. Raises InvalidInput for a span of less than two observations."""
    marks = observed(panel, start, stop)
    if len(marks) < 2:
        raise InvalidInput(f"{stop - start} bars are too few to judge anything by: choose a longer span")
    if len(panel.symbols) == 1 and start == 0 and setup.fill is FillRule.NEXT_OPEN:
        return _swept(strategy, panel, sets, setup, marks, threads, progress)
    size = max(1, -(-len(sets) // (4 * threads)))  # a few parts a thread, so that progress comes often
    parts = [sets[first : first + size] for first in range(0, len(sets), size)]
    pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="evaluation")
    try:
        waiting = [pool.submit(_evaluated, strategy, panel, part, setup, start, marks) for part in parts]
        found = []
        for number, future in enumerate(waiting, start=1):
            found.append(future.result())
            progress(min(number * size, len(sets)), len(sets), strategy.name)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    returns, trades, wins = (np.concatenate(column) for column in zip(*found, strict=True))
    year = year_of(panel.known_at[marks])
    return Evaluation(returns=returns, known_at=panel.known_at[marks], trades=trades, wins=wins, year=year)


def _swept(
    strategy: Strategy,
    panel: Panel,
    sets: Sequence[Values],
    setup: Setup,
    marks: Integers,
    threads: int,
    progress: Progress,
) -> Evaluation:
    """One symbol from its first bar on: a sweep, which computes what sets share once."""
    exits = exits_of(strategy.exits)
    told = replace(setup, stop_loss_fraction=exits["stop_loss_fraction"], take_profit_fraction=exits["take_profit_fraction"])
    found = sweep(strategy, panel.slice(0, int(marks[-1]) + 1), sets, told, marks=marks, threads=threads, progress=progress)
    trades = found.figures["trades"].astype(np.int64)
    wins = np.rint(np.nan_to_num(found.figures["win_rate"]) * trades).astype(np.int64)
    known_at = panel.known_at[marks]
    return Evaluation(returns=found.returns().T, known_at=known_at, trades=trades, wins=wins, year=year_of(known_at))


def _evaluated(
    strategy: Strategy, panel: Panel, sets: Sequence[Values], setup: Setup, start: int, marks: Integers
) -> tuple[Floats, Integers, Integers]:
    """(returns, trades, wins) of each set, set by set and symbol by symbol."""
    warm = max((strategy.memory(values) for values in sets), default=1)
    first, last = max(0, start - warm + 1), int(marks[-1]) + 1
    seen = panel.slice(first, last)
    returns = np.empty((len(sets), len(marks)))
    trades, wins = np.zeros(len(sets), dtype=np.int64), np.zeros(len(sets), dtype=np.int64)
    exits = exits_of(strategy.exits)
    tapes = [_tape(seen, symbol, start - first, marks - first) for symbol in range(len(panel.symbols))]
    part = replace(
        setup,
        capital=setup.capital / len(panel.symbols),
        stop_loss_fraction=exits["stop_loss_fraction"],
        take_profit_fraction=exits["take_profit_fraction"],
    )
    terms = [part.terms(1.0 if tape.market is None else tape.market.year.periods) for tape in tapes]
    for number, (values, columns) in enumerate(_columns(strategy, seen, sets)):
        score, threshold = strategy.score(columns, values), strategy.threshold(values)
        equity = np.zeros(len(marks) + 1)
        for symbol, tape in enumerate(tapes):
            marked, closed, won = _walk(tape, score[symbol], threshold, terms[symbol])
            equity += marked
            trades[number] += closed
            wins[number] += won
        returns[number] = equity[1:] / equity[:-1] - 1.0
    return returns, trades, wins


def figures(evaluation: Evaluation, number: int) -> Figures:
    """The figures of one set."""
    returns, trades = evaluation.returns[number], int(evaluation.trades[number])
    mean, deviation = float(returns.mean()), float(returns.std(ddof=1))
    moved = deviation > 1e-12  # below that it is rounding error of a constant
    scaled = (returns - mean) / returns.std() if moved else np.zeros(1)
    curve = np.concatenate(([1.0], np.cumprod(1.0 + returns)))
    return Figures(
        observations=len(returns),
        mean=mean,
        deviation=deviation if moved else 0.0,
        skewness=float(np.mean(scaled**3)) if moved else 0.0,
        kurtosis=float(np.mean(scaled**4)) if moved else 3.0,
        total_return=float(curve[-1] - 1.0),
        sharpe=mean / deviation * math.sqrt(evaluation.year.periods) if moved else 0.0,
        max_drawdown=float(np.max(1.0 - curve / np.maximum.accumulate(curve))),
        trades=trades,
        win_rate=int(evaluation.wins[number]) / trades if trades else None,
    )


class _Tape(NamedTuple):
    """One symbol. start: the first of its bars in the span. marks: its newest bar at each observation, -1 before the first.
    market: None where it has no bar at all."""

    market: Instrument | None
    start: int
    marks: Integers


def _tape(panel: Panel, row: int, start: int, marks: Integers) -> _Tape:
    if not np.any(panel.close[row] > 0.0):
        return _Tape(None, 0, marks)
    market = instrument(panel, row)
    newest = np.searchsorted(market.place, marks, side="right") - 1
    return _Tape(market, int(np.searchsorted(market.place, start)), newest)


def _walk(tape: _Tape, score: Floats, threshold: float, terms: Terms) -> tuple[Floats, int, int]:
    """(equity at the start and at each observation, closed trades, those won) of one symbol."""
    marked = np.full(len(tape.marks) + 1, terms.capital)
    if tape.market is None:
        return marked, 0, 0
    votes = votes_of(tape.market, score, threshold)
    votes[: tape.start], votes[len(tape.market.place) - 1] = 0, 0
    known = tape.marks >= 0
    at_marks = np.empty(int(known.sum()))
    sums = walk(tape.market.bars, votes, terms, tape.marks[known], at_marks, _NO_SPOTS, _NO_AMOUNTS)
    marked[1:][known] = at_marks
    return marked, int(sums.trades), int(sums.wins)


def _columns(strategy: Strategy, panel: Panel, sets: Sequence[Values]) -> Iterator[tuple[Values, Columns]]:
    """The columns of each set. Sets that agree in all that was read for the columns before share them: weights and thresholds
    that only the score reads cost nothing."""
    held: Columns | None = None
    asked: dict[str, float] = {}
    for values in sets:
        if held is None or any(values[name] != value for name, value in asked.items()):
            watched = Watched(values)
            held = strategy.columns(panel, watched)
            asked = {name: values[name] for name in watched.read}
        yield values, held
