"""Forecasts for a backtest: models retrained as time goes on, each on what was known before its window began."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import numpy as np

from app.domain.bar import BarSeries, Floats, Seconds
from app.domain.errors import InvalidInput
from app.domain.forecast import Answer, Forecast, Forecaster, NoForecast
from app.domain.panel import Panel
from app.engine.arrays import expected_return_now
from app.learning.confidence import confidence
from app.learning.ensemble import Member, fit, predict
from app.learning.features import MEMORY, feature_matrix
from app.learning.labels import Examples, examples
from app.learning.model import ParamStore
from app.learning.splits import clear_of
from app.learning.training import HISTORY_BARS, MINIMUM_BARS

WINDOW_SESSIONS = 21
_SEED = 7  # as live training
Progress = Callable[[int, int, str], None]
Answers = dict[int, Forecast | NoForecast]


class Opening(Protocol):
    """A session, as far as learning cares."""

    @property
    def opens_at(self) -> datetime:
        """When it opens."""
        ...


@dataclass(frozen=True, slots=True)
class WalkForward:
    """The finished forecasts; see `app.backtest.walk_forward.Taped`. answers: by symbol, then by when the newest bar behind it
    became known."""

    answers: Mapping[str, Answers]

    def forecast(self, bars: Mapping[str, BarSeries], at: datetime) -> dict[str, Forecast | NoForecast]:
        """The forecast made from the bars known at `at`, which must be the newest before one of the sessions."""
        return {symbol: self._answer(symbol, series.known_by(at)) for symbol, series in bars.items()}

    def taped(self, panel: Panel) -> tuple[Floats, Floats | None]:
        """The forecasts seen from the close of each bar, and their confidence. A symbol without a bar says what its newest
        bar said."""
        expected, sure = np.full(panel.close.shape, np.nan), np.full(panel.close.shape, np.nan)
        for row, symbol in enumerate(panel.symbols):
            own = np.flatnonzero(np.isfinite(panel.close[row]))
            if not len(own):
                continue
            answers, close = self.answers.get(symbol, {}), panel.close[row]
            for bar in own.tolist():
                said = answers.get(int(panel.known_at[bar]))
                if isinstance(said, Forecast):
                    expected[row, bar] = expected_return_now(said, float(close[bar]))
                    sure[row, bar] = said.confidence
            newest = own[np.maximum(np.searchsorted(own, np.arange(len(panel)), side="right") - 1, 0)]
            expected[row], sure[row] = expected[row, newest], sure[row, newest]
            expected[row, : own[0]] = np.nan
        return expected, sure

    def _answer(self, symbol: str, known: BarSeries) -> Forecast | NoForecast:
        found = self.answers.get(symbol, {}).get(int(known.known_at[-1])) if len(known) else None
        return found or NoForecast(symbol=symbol, code="too_few_bars", detail="no completed daily bars to forecast from")


def walk_forward(
    bars: Mapping[str, BarSeries],
    sessions: Sequence[Opening],
    params: ParamStore,
    *,
    progress: Progress,
    window: int = WINDOW_SESSIONS,
    workers: int | None = None,
) -> WalkForward:
    """Train and forecast every symbol for every session, over all cores; progress comes on this thread after each symbol.

    A window's models are those that live training would have made just before its first session opened: the same rows,
    parameters and seed. What progress raises ends the work.
    """
    pool = ThreadPoolExecutor(max_workers=workers or os.cpu_count() or 1, thread_name_prefix="walk-forward")
    answers: dict[str, Answers] = {}
    try:
        futures = {pool.submit(symbol_forecasts, series, sessions, params, window): symbol for symbol, series in bars.items()}
        for future in as_completed(futures):
            answers[futures[future]] = future.result()
            progress(len(answers), len(bars), f"models of {futures[future]}")
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return WalkForward(answers)


class OncePerSession:
    """A forecaster asked once for each newest bar: within a day the completed bars, and so the answers, do not change."""

    def __init__(self, forecaster: Forecaster) -> None:
        self._forecaster = forecaster
        self._key: tuple[int, ...] = ()
        self._answers: Mapping[str, Answer] = {}

    def forecast(self, bars: Mapping[str, BarSeries], at: datetime) -> Mapping[str, Answer]:
        """As the forecaster behind it."""
        key = tuple(int(series.known_at[-1]) if len(series) else 0 for series in bars.values())
        if key != self._key or bars.keys() != self._answers.keys():
            self._key, self._answers = key, self._forecaster.forecast(bars, at)
        return self._answers


def symbol_forecasts(
    bars: BarSeries,
    sessions: Sequence[Opening],
    params: ParamStore,
    window: int,
    progress: Progress = lambda _done, _total, _message: None,
) -> Answers:
    """The forecasts of one symbol, as `walk_forward` makes them; progress(sessions done, of, symbol) after each window."""
    first = len(bars.known_by(sessions[0].opens_at))
    bars = bars.slice(max(0, first - HISTORY_BARS), len(bars.known_by(sessions[-1].opens_at)))
    features, rows = feature_matrix(bars), examples(bars)
    answers: Answers = {}
    for begin in range(0, len(sessions), window):
        starts_at, part = sessions[begin].opens_at, sessions[begin : begin + window]
        newest = [len(bars.known_by(session.opens_at)) - 1 for session in part]
        stop = int(np.searchsorted(rows.known_at, int(starts_at.timestamp()), side="right"))
        past = rows.slice(max(0, stop - (HISTORY_BARS - MEMORY)), stop)
        try:
            members: Floats | NoForecast = _members(bars.symbol, past, features[newest], newest[0] + 1, params, starts_at)
        except InvalidInput as fault:
            members = NoForecast(symbol=bars.symbol, code=fault.code, detail=fault.message)
        named = f"walk-forward {starts_at:%Y-%m-%d}"
        for row, index in enumerate(newest):
            if index >= 0:
                answer = members if isinstance(members, NoForecast) else _forecast(bars, index, members[row], named)
                answers[int(bars.known_at[index])] = answer
        progress(min(begin + window, len(sessions)), len(sessions), bars.symbol)
    return answers


def split_forecasts(
    bars: BarSeries,
    clock: Seconds,
    edges: Sequence[int],
    tested: Sequence[Sequence[int]],
    params: ParamStore,
    *,
    embargo_bars: int = 0,
    progress: Progress = lambda _done, _total, _message: None,
) -> list[Answers]:
    """The forecasts of one symbol inside the tested groups of each split, by models fitted on all other groups, purged by when
    each label was known. Nothing is said where these have too few rows.

    clock: when the bars of all symbols were known, seconds; edges: first bars of the groups by that clock, and the end of the
    last; tested: the groups of each split. Parameters are those known before the first group. progress comes after each
    split."""
    features, rows = feature_matrix(bars), examples(bars)
    decided, label = np.searchsorted(clock, rows.decided_at), np.searchsorted(clock, rows.known_at)
    own = np.searchsorted(clock, bars.known_at)
    judged = (decided >= edges[0]) & (decided < edges[-1])
    chosen = params.choose(bars.symbol, at=datetime.fromtimestamp(int(clock[edges[0]]), UTC)).params
    out: list[Answers] = []
    for number, groups in enumerate(tested):
        blocks = [(edges[group], edges[group + 1]) for group in groups]
        inside = [(decided >= first) & (decided < stop) for first, stop in blocks]
        ends = [
            (first, int(label[rows_in].max()) if rows_in.any() else stop)
            for (first, stop), rows_in in zip(blocks, inside, strict=True)
        ]
        train = judged & clear_of(decided, label, ends, embargo_bars) & ~np.logical_or.reduce(inside)
        answers: Answers = {}
        if int(train.sum()) >= MINIMUM_BARS - MEMORY - 1:
            fitted = fit(rows.features[train], rows.label[train], chosen, seed=_SEED)
            wanted = np.flatnonzero(np.logical_or.reduce([(own >= first) & (own < stop) for first, stop in blocks]))
            members = _predicted(fitted, features[wanted])
            answers = {
                int(bars.known_at[index]): _forecast(bars, index, members[row], f"split {number}")
                for row, index in enumerate(wanted.tolist())
            }
        out.append(answers)
        progress(number + 1, len(tested), bars.symbol)
    return out


def _predicted(fitted: Sequence[Member], wanted: Floats) -> Floats:
    """Forecasts of each member, NaN where a row is; shape (n_rows, n_members)."""
    members = predict(fitted, np.nan_to_num(wanted))
    members[~np.isfinite(wanted).all(axis=1)] = np.nan
    return members


def _members(symbol: str, past: Examples, wanted: Floats, known: int, params: ParamStore, at: datetime) -> Floats:
    """Forecasts of each member for the rows `wanted`, NaN where a row is; shape (n_rows, n_members)."""
    if known < MINIMUM_BARS or len(past) < MINIMUM_BARS - MEMORY - 1:
        detail = f"{symbol}: training needs {MINIMUM_BARS} completed daily bars; {known} were known by {at:%Y-%m-%d}"
        raise InvalidInput(detail, code="too_few_bars")
    fitted = fit(past.features, past.label, params.choose(symbol, at=at).params, seed=_SEED)
    return _predicted(fitted, wanted)


def _forecast(bars: BarSeries, index: int, members: Floats, model: str) -> Forecast | NoForecast:
    if not (np.abs(members) < 1.0).all():  # NaN lands here too
        detail = f"the last {MEMORY} daily bars or the model's answer are not sound"
        return NoForecast(symbol=bars.symbol, code="not_finite", detail=detail)
    return Forecast(
        symbol=bars.symbol,
        daily_return=float(members.mean()),
        confidence=float(confidence(members)),
        members=tuple(members.tolist()),
        last_close=float(bars.close[index]),
        last_close_at=datetime.fromtimestamp(int(bars.known_at[index]), UTC),
        model=model,
    )
