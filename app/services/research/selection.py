"""Choosing parameters on bars that the search did not see, and telling what the choice is worth on bars that chose nothing.

The search sees the first part of the bars (train). Its best sets are run on the second (validation), and the one with the best
Sharpe ratio there is chosen. It alone is run on the third (holdout), which no figure before it depends on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.backtest.compiled.evaluation import Figures, evaluate
from app.domain.errors import InvalidInput
from app.domain.panel import Panel
from app.domain.research import OptimizerResult
from app.services.research.bench import ResearchBench, Span, each, first_judged, setup_of, told
from app.services.research.request import Parts
from app.services.research.runs import Progress
from app.strategies.strategy import Strategy

PARTS = ("train", "validation", "holdout")
LEAST_OBSERVATIONS = 10
Tried = tuple[Mapping[str, float], Figures]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """ranked: (values, figures of each part), the chosen first; holdout only of the chosen."""

    ranked: list[tuple[Mapping[str, float], dict[str, Figures]]]

    def result(self) -> dict[str, Any]:
        """As plain JSON values."""
        rows = [
            {"values": dict(values), **{part: told(found) for part, found in parts.items()}} for values, parts in self.ranked
        ]
        return {"best": rows[0], "table": rows}

    def rows(self, run_id: str, strategy: str, at: datetime) -> list[OptimizerResult]:
        """For the table of results. The headline figures are those of the part that chose."""
        return [
            OptimizerResult(
                run_id=run_id,
                rank=rank,
                created_at=at,
                strategy=strategy,
                parameters=dict(values),
                total_return=parts["validation"].total_return,
                max_drawdown=parts["validation"].max_drawdown,
                sharpe=parts["validation"].sharpe,
                win_rate=parts["validation"].win_rate,
                is_best=rank == 1,
                figures={part: told(found) for part, found in parts.items()},
            )
            for rank, (values, parts) in enumerate(self.ranked, start=1)
        ]


def parts_of(panel: Panel, request: Parts) -> dict[str, Span]:
    """The three parts. Raises InvalidInput when one is too short to judge by."""
    judged = first_judged(panel, request)
    rows = len(panel) - 1 - judged  # the last bar decides on nothing
    first, second = request.train_fraction, request.train_fraction + request.validation_fraction
    edges = [judged + count for count in (0, round(rows * first), round(rows * second), rows)]
    spans = {part: Span(start=edges[i], stop=edges[i + 1]) for i, part in enumerate(PARTS)}
    short = [part for part, span in spans.items() if span.stop - span.start < LEAST_OBSERVATIONS]
    if short:
        raise InvalidInput(
            f"{len(panel)} bars leave less than {LEAST_OBSERVATIONS} for {' and '.join(short)}: choose a longer span",
            code="too_few_bars",
        )
    return spans


def days_of(panel: Panel, spans: Mapping[str, Span]) -> dict[str, dict[str, Any]]:
    """First and last instant of each part, and its bars."""

    def at(second: int) -> str:
        return datetime.fromtimestamp(second, UTC).isoformat()

    return {
        part: {
            "start": at(int(panel.known_at[span.start])),
            "end": at(int(panel.known_at[span.stop])),
            "bars": span.stop - span.start,
        }
        for part, span in spans.items()
    }


def select(
    bench: ResearchBench,
    strategy: Strategy,
    panel: Panel,
    request: Parts,
    tried: Sequence[Tried],
    *,
    source: str,
    progress: Progress,
) -> Selection:
    """Choose among the sets that were tried on the first part. Every run on the other parts is counted as a trial too."""
    spans = parts_of(panel, request)
    finalists = sorted(tried, key=_by_sharpe, reverse=True)[: request.top]
    sets = [values for values, _ in finalists]
    setup = setup_of(request)

    def run(part: str, chosen: Sequence[Mapping[str, float]]) -> list[Figures]:
        span = spans[part]
        found = each(evaluate(strategy, panel, chosen, setup, start=span.start, stop=span.stop, progress=progress))
        bench.record(panel, span, request, list(zip(chosen, found, strict=True)), source)
        return found

    judged = list(zip(finalists, run("validation", sets), strict=True))
    judged.sort(key=lambda row: _by_sharpe((row[0][0], row[1])), reverse=True)
    best = judged[0][0][0]
    ranked = [(values, {"train": train, "validation": validation}) for (values, train), validation in judged]
    ranked[0][1]["holdout"] = run("holdout", [best])[0]
    return Selection(ranked=ranked)


def _by_sharpe(row: Tried) -> tuple[bool, float]:
    """Sets that never traded come last, whatever they did not lose."""
    return row[1].trades > 0, row[1].sharpe
