"""Walk-forward over combinatorial purged splits: many out-of-sample histories of a strategy instead of the one that happened.

The bars are parted into groups. For every choice of tested groups the parameters are chosen, or the models trained, on all
other groups, less what shares a bar with the tested ones (Lopez de Prado, Advances in Financial Machine Learning, 2018, chapter
12). The tested parts of all splits make paths through all groups; the account is traded along each. What is chosen here may
know what came later: the paths tell how far a result depends on luck, never what was to be earned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np

from app.backtest.compiled.evaluation import Evaluation, Figures, evaluate, figures, observed
from app.backtest.outcome import Outcome
from app.backtest.statistics.overfitting import overfitting_of_choices, sharpe_of_groups
from app.backtest.walk_forward import Chosen, StitchedForecaster
from app.domain.bar import DAILY, Floats
from app.domain.errors import InvalidInput
from app.domain.forecast import Forecast
from app.learning.model import ParamStore
from app.services.research.bench import Span, each, grid_sets, setup_of
from app.services.research.request import WalkForwardRequest, parse
from app.services.research.retrained_models import Answers, WalkForward, split_forecasts
from app.services.research.runs import Job, Plain, Progress
from app.services.research.split_paths import Groups, sharpe_of, told_paths, traded
from app.services.research.walk_forward import KIND, open_job
from app.services.research.windows import Windows
from app.strategies.catalog import MODEL_DRIVEN

_BATCH = 500  # sets whose returns are held at a time


class CombinatorialJob:
    """A rule strategy; see `app.services.research.runs.Job`. A chunk is a split."""

    def __init__(self, request: Plain, made: Callable[[WalkForwardRequest], Windows]) -> None:
        asked = parse(WalkForwardRequest, request)
        self._made = made(asked)
        self._strategy = self._made.bench.find(asked.strategy)
        self._sets = grid_sets(self._strategy, asked.grid, asked.values)
        self._groups = Groups(self._made)
        self._is_counted = False
        self.request: Plain = self._made.asked.model_dump(mode="json")
        self.dataset = self._made.panel.digest()
        self.chunks = [{"split": number} for number in range(len(self._groups.splits))]

    def work(self, chunk: Plain, progress: Progress) -> Plain:
        """Choose on the training groups of a split."""
        self._count(progress)
        found = [row for sets in _batches(self._sets) for row in self._trained(sets, chunk["split"], progress)]
        best = max(range(len(found)), key=lambda i: (found[i].trades > 0, found[i].sharpe))
        return {"split": chunk["split"], "set": best, "sharpe": found[best].sharpe, "trades": found[best].trades}

    def finish(self, run_id: str, results: Sequence[Plain], progress: Progress) -> Plain:  # noqa: ARG002 - nothing is kept by it
        """Trade the account along every path."""
        self._count(progress)
        made, groups = self._made, self._groups
        chosen = [int(row["set"]) for row in results]
        limits, policy = made.limits_and_policy(self._strategy)

        def path(number: int) -> StitchedForecaster:
            windows = [
                Chosen(start=span.start, stop=span.stop, values=self._sets[chosen[split]])
                for span, split in zip(groups.spans, groups.paths[number].tolist(), strict=True)
            ]
            return StitchedForecaster(self._strategy, made.panel, windows)

        unseen, year = self._unseen(progress)
        splits = [
            {
                "groups": list(split.groups),
                "values": self._sets[row["set"]],
                "sharpe_in_sample": row["sharpe"],
                "trades_in_sample": row["trades"],
                "sharpe_out_of_sample": float(judged[row["set"]]) * year,
            }
            for split, row, judged in zip(groups.splits, results, unseen, strict=True)
        ]
        outcomes = list(traded(made, groups, path, limits, policy, progress))
        overfitting = overfitting_of_choices(unseen, chosen) if len(self._sets) > 1 else None
        more = {"chosen": "by Sharpe ratio on the training groups of each split"}
        return told_paths(made, groups, outcomes, splits, overfitting, more)

    def _trained(self, sets: Sequence[Mapping[str, float]], number: int, progress: Progress) -> list[Figures]:
        spans = [s for s in self._groups.training(number) if len(observed(self._made.panel, s.start, s.stop)) > 1]
        if not spans:
            raise InvalidInput("purging leaves nothing to choose on: choose fewer groups, a shorter embargo or more bars")
        return each(_joined([self._evaluate(sets, span, progress) for span in spans]))

    def _evaluate(self, sets: Sequence[Mapping[str, float]], span: Span, progress: Progress) -> Evaluation:
        setup = setup_of(self._made.asked)
        return evaluate(self._strategy, self._made.panel, sets, setup, start=span.start, stop=span.stop, progress=progress)

    def _count(self, progress: Progress) -> None:
        """Every set is one trial, on all of the bars, whatever number of splits it is tried on: counted before the first of
        them is worked on, by every process that works on any."""
        if self._is_counted:
            return
        made, span = self._made, self._groups.judged
        for sets in _batches(self._sets):
            found = each(self._evaluate(sets, span, progress))
            made.bench.record(made.panel, span, made.asked, list(zip(sets, found, strict=True)), KIND)
        self._is_counted = True

    def _unseen(self, progress: Progress) -> tuple[Floats, float]:
        """(Sharpe ratios of every set on the tested groups of each split, shape (n_splits, n_sets); the root of how many
        observations make a year)."""
        spans, shape = self._groups.spans, (len(self._groups.spans), len(self._sets))
        counts, sums, squares, periods = np.zeros(shape[0], dtype=np.int64), np.empty(shape), np.empty(shape), 0.0
        for row, span in enumerate(spans):
            first = 0
            for sets in _batches(self._sets):
                found = self._evaluate(sets, span, progress)
                part = slice(first, first + len(sets))
                counts[row], sums[row, part] = found.returns.shape[1], found.returns.sum(axis=1)
                squares[row, part], first = (found.returns**2).sum(axis=1), first + len(sets)
                periods = found.year.periods
        return sharpe_of_groups(counts, sums, squares, [split.groups for split in self._groups.splits]), math.sqrt(periods)


class ModelCombinatorialJob:
    """The model-driven strategy: models trained anew for every split. A chunk is a symbol."""

    def __init__(self, request: Plain, made: Callable[[WalkForwardRequest], Windows], params: ParamStore) -> None:
        asked = parse(WalkForwardRequest, request)
        if asked.timeframe != DAILY or asked.grid or asked.values:
            raise InvalidInput("the model-driven strategy works on 1Day bars and has no parameters: leave grid and values out")
        self._made, self._params = made(asked), params
        self._groups = Groups(self._made)
        self.request: Plain = self._made.asked.model_dump(mode="json")
        self.dataset = self._made.panel.digest()
        self.chunks = [{"symbol": symbol} for symbol in self._made.panel.symbols]

    def work(self, chunk: Plain, progress: Progress) -> Plain:
        """Train and forecast one symbol in all splits."""
        found = split_forecasts(
            self._bars[chunk["symbol"]],
            self._made.panel.known_at,
            self._groups.edges,
            [split.groups for split in self._groups.splits],
            self._params,
            embargo_bars=self._made.asked.embargo_bars,
            progress=progress,
        )
        return {"symbol": chunk["symbol"], "splits": [_kept(answers) for answers in found]}

    def finish(self, run_id: str, results: Sequence[Plain], progress: Progress) -> Plain:  # noqa: ARG002 - nothing is kept by it
        """Trade the account along every path."""
        made, groups = self._made, self._groups
        if not any(split["at"] for row in results for split in row["splits"]):
            raise InvalidInput("no split leaves enough bars to train on: choose more groups, fewer tested, or more bars")
        limits, policy = made.own_limits_and_policy()

        def path(number: int) -> WalkForward:
            return WalkForward({row["symbol"]: self._restored(row, groups.paths[number].tolist()) for row in results})

        outcomes = list(traded(made, groups, path, limits, policy, progress))
        self._count(outcomes)
        splits = [{"groups": list(split.groups)} for split in groups.splits]
        more = {"models": "trained anew for every split on its training groups, with the parameters known before the first bar"}
        return told_paths(made, groups, outcomes, splits, None, more)

    @cached_property
    def _bars(self) -> Mapping[str, Any]:
        return self._made.bench.bars(self._made.asked)

    def _restored(self, row: Plain, splits: Sequence[int]) -> Answers:
        """The forecasts of one symbol along a path. splits: which judges each group."""
        bars, known_at, spans = self._bars[row["symbol"]], self._made.panel.known_at, self._groups.spans
        answers: Answers = {}
        for span, split in zip(spans, splits, strict=True):
            kept = row["splits"][split]
            for at, daily_return, sure in zip(kept["at"], kept["daily_return"], kept["confidence"], strict=True):
                if known_at[span.start] <= at < known_at[span.stop]:
                    answers[at] = Forecast(
                        symbol=row["symbol"],
                        daily_return=daily_return,
                        confidence=sure,
                        members=(daily_return,),
                        last_close=float(bars.close[int(np.searchsorted(bars.known_at, at))]),
                        last_close_at=datetime.fromtimestamp(at, UTC),
                        model=f"split {split}",
                    )
        return answers

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        """One trial: the models have one configuration. Its figures are those of the path in the middle."""
        made = self._made
        middle = outcomes[int(np.argsort([sharpe_of(one) for one in outcomes])[len(outcomes) // 2])]
        found = Evaluation(
            returns=(middle.curve[1:] / middle.curve[:-1] - 1.0)[None],
            known_at=middle.known_at,
            trades=np.array([len(middle.trips)]),
            wins=np.array([sum(trip.profit > 0 for trip in middle.trips)]),
            year=middle.year,
        )
        made.bench.record(made.panel, self._groups.judged, made.asked, [({}, figures(found, 0))], KIND)


def walk_forward_job(request: Plain, made: Callable[[WalkForwardRequest], Windows], params: ParamStore) -> Job:
    """The job of a request for a walk-forward, by its splits and its strategy."""
    asked = parse(WalkForwardRequest, request)
    if asked.splits == "rolling":
        return open_job(request, made, params)
    return ModelCombinatorialJob(request, made, params) if asked.strategy == MODEL_DRIVEN else CombinatorialJob(request, made)


def _joined(parts: Sequence[Evaluation]) -> Evaluation:
    """Spans that share no return as one."""
    return replace(
        parts[0],
        returns=np.concatenate([part.returns for part in parts], axis=1),
        known_at=np.concatenate([part.known_at for part in parts]),
        trades=np.sum([part.trades for part in parts], axis=0),
        wins=np.sum([part.wins for part in parts], axis=0),
    )


def _batches(sets: Sequence[dict[str, float]]) -> Iterator[Sequence[dict[str, float]]]:
    for first in range(0, len(sets), _BATCH):
        yield sets[first : first + _BATCH]


def _kept(answers: Answers) -> dict[str, Any]:
    said = {at: answer for at, answer in answers.items() if isinstance(answer, Forecast)}
    return {
        "at": list(said),
        "daily_return": [answer.daily_return for answer in said.values()],
        "confidence": [answer.confidence for answer in said.values()],
    }
