"""A sweep: every combination of a grid on the first part of the bars, the best of them chosen on the second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.backtest.compiled.evaluation import Figures, evaluate
from app.backtest.compiled.instrument import FillRule
from app.domain.ports import Clock
from app.domain.verdict import Judged
from app.services.research.bench import ResearchBench, each, first_judged, grid_sets, setup_of
from app.services.research.chosen_curve import chosen_curve
from app.services.research.heat_map import axes_of, heat_map
from app.services.research.request import ResearchRequest, SweepRequest, parse
from app.services.research.runs import Plain, Progress
from app.services.research.selection import days_of, parts_of, select
from app.services.verdicts.sweep_verdict import sweep_result
from app.services.verdicts.verdict_service import VerdictService, verdict_fields

KIND = "sweep"
_CHUNKS, _LEAST_SETS = 32, 50  # sets that share a line or a column are done together


class SweepJob:
    """A sweep made ready; see `app.services.research.runs.Job`. save: keeps the rows of results of a run.
    judge: gives the verdict on what was chosen; None: there is none."""

    def __init__(
        self,
        request: Plain,
        *,
        bench: ResearchBench,
        clock: Clock,
        save: Any,
        threads: int = 1,
        judge: VerdictService | None = None,
    ) -> None:
        asked = parse(SweepRequest, request)
        self._bench, self._clock, self._save, self._threads, self._judge = bench, clock, save, threads, judge
        self._strategy = bench.find(asked.strategy)
        self._sets = grid_sets(self._strategy, asked.grid, asked.values)
        self._asked, self._panel = bench.panel(asked)
        self._spans = parts_of(self._panel, self._asked)
        self._axes = axes_of(self._asked)
        self.request: Plain = self._asked.model_dump(mode="json")
        self.dataset = self._panel.digest()
        size = max(_LEAST_SETS, -(-len(self._sets) // _CHUNKS))
        self.chunks = [
            {"first": first, "stop": min(first + size, len(self._sets))} for first in range(0, len(self._sets), size)
        ]

    def work(self, chunk: Plain, progress: Progress) -> Plain:
        """Evaluate some sets on the first part, and count them."""
        sets, span = self._sets[chunk["first"] : chunk["stop"]], self._spans["train"]
        found = each(
            evaluate(
                self._strategy,
                self._panel,
                sets,
                setup_of(self._asked),
                start=span.start,
                stop=span.stop,
                threads=self._threads,
                progress=progress,
            )
        )
        self._bench.record(self._panel, span, self._asked, list(zip(sets, found, strict=True)), KIND)
        return {"figures": [list(row) for row in found]}

    def finish(self, run_id: str, results: Sequence[Plain], progress: Progress) -> Plain:
        """Choose, keep the best, and draw the heat map of the first part."""
        found = [Figures(*row) for result in results for row in result["figures"]]
        tried = list(zip(self._sets, found, strict=True))
        selection = select(self._bench, self._strategy, self._panel, self._asked, tried, source=KIND, progress=progress)
        self._save(run_id, selection.rows(run_id, self._asked.strategy, self._clock.now()))
        chosen = selection.ranked[0][0]
        verdict = None if self._judge is None else self._judged(self._judge, chosen, run_id, progress)
        return selection.result() | {
            "strategy": self._asked.strategy,
            "verdict": verdict,
            "dataset": self.dataset,
            "parts": days_of(self._panel, self._spans),
            "trials": {"evaluated": len(tried), "counted_on_these_bars": self._bench.counted(self._panel)},
            "heat_map": heat_map(tried, self._axes),
            "equity_curve": chosen_curve(self._bench, self._strategy, self._panel, self._asked, chosen),
            "assumptions": assumptions(self._asked),
        }

    def _judged(self, judge: VerdictService, chosen: Mapping[str, float], run_id: str, progress: Progress) -> Plain:
        """The verdict on the chosen set over all of the bars, among every set that it was chosen from."""
        result = sweep_result(
            self._strategy,
            self._panel,
            self._sets,
            chosen,
            setup_of(self._asked),
            start=first_judged(self._panel, self._asked),
            threads=self._threads,
            progress=progress,
        )
        return tell_verdict(judge, judge.judge(result), self._asked, run_id)


def tell_verdict(judge: VerdictService, judged: Judged, asked: ResearchRequest, run_id: str) -> dict[str, Any]:
    """The verdict as it is answered; kept under `run_id` where it is one on what the account would trade."""
    if asked.sides == "long":  # with shorts it is none, and must open no gate
        judge.keep(judged, run_id)
    return verdict_fields(judged) | {"sides": setup_of(asked).assumption}


def assumptions(request: ResearchRequest) -> dict[str, Any]:
    """What the figures of the research kernel rest on, for people."""
    return {
        "account": "each symbol by itself with an equal part of the capital, not rebalanced; parts of shares; no risk rules",
        "fills": FillRule(request.fill).assumption,
        "sides": setup_of(request).assumption,
        "fraction_of_equity": request.fraction,
        "slippage_bps": request.slippage_bps,
        "commission_bps": request.commission_bps,
        "commission_per_share": request.commission_per_share,
        "minimum_commission": request.minimum_commission,
        "chosen": "by Sharpe ratio on the validation part among the best of the train part; the holdout part chose nothing",
    }
