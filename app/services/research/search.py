"""A search over a strategy's parameters: Optuna proposes, the research kernel answers, the best are chosen on later bars.

The verdict is on the bars that chose nothing, among all sets that were tried and the neighbours of the one that was chosen:
each of them is run there too, counts as tried there, and chooses nothing.

Each trial of the search is a chunk of the run, so any number of processes search together through one journal. A trial whose
process died is taken up again with the very parameters that were proposed for it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from app.backtest.compiled.evaluation import Figures, evaluate
from app.backtest.statistics.luck import parameter_plateau
from app.domain.errors import InvalidInput
from app.domain.ports import Clock
from app.services.research.bench import ResearchBench, Span, each, setup_of
from app.services.research.chosen_curve import chosen_curve
from app.services.research.request import OptimizeRequest, parse
from app.services.research.runs import Plain, Progress
from app.services.research.selection import days_of, parts_of, select
from app.services.research.sweep import assumptions, tell_verdict
from app.services.verdicts.sweep_verdict import sweep_result
from app.services.verdicts.verdict_service import VerdictService
from app.strategies.strategy import Parameter, Strategy, Values, checked

KIND = "optimize"
_REFUSED = -100.0  # told of a set that the strategy refuses or that never trades: far below any Sharpe ratio of a year
_STARTUP_TRIALS = 10
_STEP = 0.05
Bounds = dict[str, tuple[float, float]]


class OptimizeJob:
    """A search made ready; see `runs.Job`. storage: makes the journal that all processes share. save: keeps
    the rows of results of a run. judge: gives the verdict on what was chosen; None: there is none."""

    def __init__(
        self,
        request: Plain,
        *,
        bench: ResearchBench,
        clock: Clock,
        storage: Callable[[], Any],
        save: Callable[..., None],
        judge: VerdictService | None = None,
    ) -> None:
        asked = parse(OptimizeRequest, request)
        self._bench, self._clock, self._storage, self._save, self._judge = bench, clock, storage, save, judge
        self._strategy = bench.find(asked.strategy)
        checked(self._strategy, asked.values)
        self._bounds = bounds_of(self._strategy.parameters, asked.bounds, asked.values)
        fixed, self._panel = bench.panel(asked)
        self._asked = fixed.model_copy(
            update={
                "bounds": self._bounds,
                "study": asked.study or uuid.uuid4().hex,
                "began_at": asked.began_at or clock.now(),
            }
        )
        self._spans = parts_of(self._panel, self._asked)
        self._study: Any = None
        self.request: Plain = self._asked.model_dump(mode="json")
        self.dataset = self._panel.digest()
        self.chunks = [{"trial": number} for number in range(self._asked.trials)]

    def work(self, chunk: Plain, progress: Progress) -> Plain:
        """One trial: ask, evaluate, count, tell."""
        from optuna.trial import TrialState

        if self._is_over():
            return {"skipped": True}
        study, number = self._open(), int(chunk["trial"])
        known = next((trial for trial in study.get_trials(deepcopy=False) if trial.user_attrs.get("chunk") == number), None)
        if known is not None and known.state is TrialState.COMPLETE:
            return dict(known.user_attrs["result"])
        trial = self._ask(study, number) if known is None else _again(study, known)
        values = {**self._asked.values, **{name: self._suggest(trial, name) for name in self._bounds}}
        result, value = self._evaluate(values, progress)
        trial.set_user_attr("result", result)
        study.tell(trial, value)
        return result

    def finish(self, run_id: str, results: Sequence[Plain], progress: Progress) -> Plain:
        """Choose among what was tried, keep the best."""
        found = {
            tuple(result["values"].items()): (result["values"], Figures(*result["figures"]))
            for result in results
            if "figures" in result
        }
        tried = list(found.values())
        if not tried:
            raise InvalidInput("no set of parameters could be evaluated: give it more seconds, or bounds that allow some")
        selection = select(self._bench, self._strategy, self._panel, self._asked, tried, source="tuning", progress=progress)
        self._save(run_id, selection.rows(run_id, self._asked.strategy, self._clock.now()))
        best = selection.ranked[0][0]
        verdict = None if self._judge is None else self._judged(self._judge, best, [v for v, _ in tried], run_id, progress)
        skipped = sum(bool(result.get("skipped")) for result in results)
        return selection.result() | {
            "strategy": self._asked.strategy,
            "verdict": verdict,
            "dataset": self.dataset,
            "bounds": {name: list(bound) for name, bound in self._bounds.items()},
            "parts": days_of(self._panel, self._spans),
            "trials": {
                "evaluated": len(tried),
                "refused_or_repeated": len(results) - skipped - len(tried),
                "out_of_time": skipped,
                "counted_on_these_bars": self._bench.counted(self._panel),
            },
            "equity_curve": chosen_curve(self._bench, self._strategy, self._panel, self._asked, selection.ranked[0][0]),
            "assumptions": assumptions(self._asked),
        }

    def _judged(
        self, judge: VerdictService, best: Values, tried: Sequence[Values], run_id: str, progress: Progress
    ) -> dict[str, Any]:
        """The verdict on the chosen set over the holdout, among every set that was tried."""
        start, setup = self._spans["holdout"].start, setup_of(self._asked)
        near = neighbours(self._strategy, best, self._bounds)
        sets = list({tuple(values.items()): values for values in (*tried, *near)}.values())
        span = Span(start=start, stop=len(self._panel) - 1)
        found = each(evaluate(self._strategy, self._panel, sets, setup, start=span.start, stop=span.stop, progress=progress))
        self._bench.record(self._panel, span, self._asked, list(zip(sets, found, strict=True)), "tuning")
        around = [best, *near]
        ratios = {tuple(values.items()): one.sharpe for values, one in zip(sets, found, strict=True)}
        plateau = parameter_plateau(around, [ratios[tuple(values.items())] for values in around], best)
        judged = judge.judge(
            sweep_result(
                self._strategy,
                self._panel,
                sets,
                best,
                setup,
                start=start,
                source="tuning",
                plateau=plateau,
                progress=progress,
            )
        )
        return tell_verdict(judge, judged, self._asked, run_id)

    def _evaluate(self, values: Mapping[str, float], progress: Progress) -> tuple[dict[str, Any], float]:
        """(what to keep, what to tell the search)."""
        try:
            complete = checked(self._strategy, values)
        except InvalidInput as fault:  # values that are sound each by itself and not together
            return {"refused": fault.message}, _REFUSED
        span = self._spans["train"]
        found = each(
            evaluate(
                self._strategy,
                self._panel,
                [complete],
                setup_of(self._asked),
                start=span.start,
                stop=span.stop,
                progress=progress,
            )
        )[0]
        self._bench.record(self._panel, span, self._asked, [(complete, found)], "tuning")
        return {"values": complete, "figures": list(found)}, found.sharpe if found.trades else _REFUSED

    def _is_over(self) -> bool:
        began, allowed = self._asked.began_at, self._asked.seconds
        return began is not None and 0 < allowed <= (self._clock.now() - began).total_seconds()

    def _open(self) -> Any:
        import optuna

        if self._study is None:
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            self._study = optuna.create_study(
                study_name=self._asked.study, storage=self._storage(), direction="maximize", load_if_exists=True
            )
        return self._study

    def _ask(self, study: Any, number: int) -> Any:
        import optuna

        # constant_liar: what others are trying now counts as bad, so that processes do not all try the same.
        study.sampler = optuna.samplers.TPESampler(
            seed=self._asked.seed + number, n_startup_trials=_STARTUP_TRIALS, constant_liar=True
        )
        trial = study.ask()
        trial.set_user_attr("chunk", number)
        return trial

    def _suggest(self, trial: Any, name: str) -> float:
        low, high = self._bounds[name]
        parameter = next(one for one in self._strategy.parameters if one.name == name)
        log = low > 0 and high / low > 20
        suggest = trial.suggest_int if parameter.is_whole else trial.suggest_float
        kind = int if parameter.is_whole else float
        return float(suggest(name, kind(low), kind(high), log=log))


def neighbours(strategy: Strategy, best: Values, bounds: Bounds) -> list[dict[str, float]]:
    """The sets a step beside `best` in one searched parameter: a twentieth of its bounds, at least 1 for a whole one. Those
    that lie outside of the bounds, or that the strategy refuses, are left out."""
    found = []
    for name, (low, high) in bounds.items():
        is_whole = next(one for one in strategy.parameters if one.name == name).is_whole
        step = (high - low) * _STEP
        step = max(1.0, round(step)) if is_whole else step
        for value in (best[name] - step, best[name] + step):
            if low <= value <= high and step > 0.0:
                with suppress(InvalidInput):
                    found.append(checked(strategy, {**best, name: value}))
    return found


def bounds_of(parameters: Sequence[Parameter], given: Bounds, held: Mapping[str, float]) -> Bounds:
    """What is searched: the bounds given, or those declared of all parameters that are not held. Raises InvalidInput naming
    each fault."""
    known = {parameter.name: parameter for parameter in parameters}
    wanted: Bounds = given or {name: (one.low, one.high) for name, one in known.items() if name not in held}
    faults = [] if wanted else ["there is nothing to search: all parameters are held"]
    for name, (low, high) in wanted.items():
        if name not in known:
            faults.append(f"{name}: no such parameter; there are {', '.join(known)}")
        elif name in held:
            faults.append(f"{name}: either searched or held, not both")
        elif not known[name].low <= low <= high <= known[name].high:
            faults.append(f"{name}: {low:g} to {high:g} must lie within {known[name].low:g} to {known[name].high:g}")
    if faults:
        raise InvalidInput("; ".join(faults), faults=faults)
    return dict(wanted)


def _again(study: Any, frozen: Any) -> Any:
    """A trial that was begun and not ended, to go on with; what was proposed for it stays."""
    import optuna

    return optuna.trial.Trial(study, frozen._trial_id)
