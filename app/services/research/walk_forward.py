"""Walk-forward: parameters chosen, and models trained, on each window's past alone, then used on the bars after it.

A rule strategy is a run with a chunk for each window: every set of the grid is tried on the window's training bars, the best
Sharpe ratio wins, and the winner is used on the test bars. The model-driven one is a run with a chunk for each symbol, whose
models are trained anew before every window. The last chunk trades what was chosen in one account over all test bars.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from app.backtest.compiled.evaluation import Evaluation, Figures, evaluate
from app.backtest.statistics.luck import Plateau, parameter_plateau, pooled
from app.backtest.walk_forward import Chosen, StitchedForecaster
from app.domain.bar import DAILY, Floats
from app.domain.errors import InvalidInput
from app.domain.forecast import Answer, Forecast, NoForecast
from app.learning.model import ParamStore
from app.risk.limits import Policy
from app.services.research.bench import Span, each, grid_sets, setup_of, told
from app.services.research.request import WalkForwardRequest, parse
from app.services.research.retrained_models import WalkForward, symbol_forecasts
from app.services.research.runs import Plain, Progress
from app.services.research.window_account import Told, named, sessions_of
from app.services.research.windows import Windows, days_of
from app.strategies.catalog import MODEL_DRIVEN

KIND = "walk_forward"
MOST_COMPARED_SETS = 256  # their returns are held side by side for the tests of overfitting


class WalkForwardJob:
    """A rule strategy; see `app.services.research.runs.Job`."""

    def __init__(self, request: Plain, made: Callable[[WalkForwardRequest], Windows]) -> None:
        asked = parse(WalkForwardRequest, request)
        self._windows = made(asked)
        bench = self._windows.bench
        self._strategy = bench.find(asked.strategy)
        self._sets = grid_sets(self._strategy, asked.grid, asked.values)
        self.request: Plain = self._windows.asked.model_dump(mode="json")
        self.dataset = self._windows.panel.digest()
        self.chunks = [{"window": number} for number in range(len(self._windows.splits))]

    def work(self, chunk: Plain, progress: Progress) -> Plain:
        """Choose on the training bars of a window, and look how the choice does on its test bars."""
        train, test = self._windows.spans(chunk["window"])
        tried = self._run(self._sets, train, progress)
        best = max(range(len(tried)), key=lambda i: (tried[i].trades > 0, tried[i].sharpe))
        values = self._sets[best]
        plateau = parameter_plateau(self._sets, [found.sharpe for found in tried], values)
        return {
            "window": chunk["window"],
            "train": days_of(self._windows.panel, train),
            "test": days_of(self._windows.panel, test),
            "sets": len(self._sets),
            "values": values,
            "in_sample": told(tried[best]),
            "plateau": None if plateau is None else asdict(plateau),
            "out_of_sample": told(self._run([values], test, progress)[0]),
        }

    def finish(self, run_id: str, results: Sequence[Plain], progress: Progress) -> Plain:
        """One account over all test bars, each window with its own values."""
        made = self._windows
        chosen = [
            Chosen(start=test.start, stop=test.stop, values=row["values"])
            for row, (_, test) in ((row, made.spans(row["window"])) for row in results)
        ]
        limits, policy = made.limits_and_policy(self._strategy)
        return made.finish(
            run_id,
            StitchedForecaster(self._strategy, made.panel, chosen),
            progress,
            limits=limits,
            policy=policy,
            judged_as=Told(
                strategy=made.asked.strategy,
                values=chosen[-1].values,
                setup=self._setup(),
                sets=self._compared(progress),
                plateau=pooled(Plateau(**row["plateau"]) for row in results if row.get("plateau")),
            ),
            rows=results,
            more={"chosen": "by Sharpe ratio on the training bars of each window alone"},
        )

    def _run(self, sets: Sequence[Mapping[str, float]], span: Span, progress: Progress) -> list[Figures]:
        made = self._windows
        found = each(self._evaluate(sets, span, progress))
        made.bench.record(made.panel, span, made.asked, list(zip(sets, found, strict=True)), KIND)
        return found

    def _evaluate(self, sets: Sequence[Mapping[str, float]], span: Span, progress: Progress) -> Evaluation:
        made = self._windows
        setup = setup_of(made.asked)
        return evaluate(self._strategy, made.panel, sets, setup, start=span.start, stop=span.stop, progress=progress)

    def _compared(self, progress: Progress) -> Floats | None:
        """How every set would have done over all test bars: only to tell luck, so it counts as tried."""
        made = self._windows
        if not 1 < len(self._sets) <= MOST_COMPARED_SETS:
            return None
        span = Span(start=made.first_test, stop=len(made.panel) - 1)
        found = self._evaluate(self._sets, span, progress)
        made.bench.record(made.panel, span, made.asked, list(zip(self._sets, each(found), strict=True)), KIND)
        return found.returns.T

    def _setup(self) -> dict[str, Any]:
        asked = self._windows.asked
        kept = {"grid", "values", "train_bars", "test_bars", "anchored", "embargo_bars"}
        return {"engine": KIND, "capital": asked.capital, "costs": named(setup_of(asked).costs)} | asked.model_dump(
            mode="json", include=kept
        )


class ModelWalkForwardJob:
    """The model-driven strategy: models retrained before every window on what was known then."""

    def __init__(self, request: Plain, made: Callable[[WalkForwardRequest], Windows], params: ParamStore) -> None:
        asked = parse(WalkForwardRequest, request)
        if asked.timeframe != DAILY or asked.grid or asked.values:
            raise InvalidInput("the model-driven strategy works on 1Day bars and has no parameters: leave grid and values out")
        self._windows, self._params = made(asked), params
        panel = self._windows.panel
        self._bars = self._windows.bench.bars(self._windows.asked)
        first = int(panel.known_at[self._windows.first_test])
        # A decision at a close uses what is known then: the forecasts for the session after.
        self._sessions = [
            hours for hours in sessions_of(panel, self._windows.calendar) if int(hours.opens_at.timestamp()) > first
        ]
        self.request: Plain = self._windows.asked.model_dump(mode="json")
        self.dataset = panel.digest()
        self.chunks = [{"symbol": symbol} for symbol in panel.symbols]

    def work(self, chunk: Plain, progress: Progress) -> Plain:
        """Train and forecast one symbol through all windows."""
        bars = self._bars[chunk["symbol"]]
        answers = symbol_forecasts(bars, self._sessions, self._params, self._windows.asked.test_bars, progress)
        rows = {str(at): _kept(answer) for at, answer in answers.items()}
        return {"symbol": chunk["symbol"], "answers": rows}

    def finish(self, run_id: str, results: Sequence[Plain], progress: Progress) -> Plain:
        """One account over all test bars, on the forecasts of each window's own models."""
        made = self._windows
        answers = {
            row["symbol"]: {int(at): _restored(row["symbol"], int(at), kept) for at, kept in row["answers"].items()}
            for row in results
        }
        limits, policy = made.own_limits_and_policy()
        rows = [{"window": i, "test": days_of(made.panel, made.spans(i)[1])} for i in range(len(made.splits))]
        return made.finish(
            run_id,
            WalkForward(answers),
            progress,
            limits=limits,
            policy=policy,
            judged_as=Told(strategy=MODEL_DRIVEN, values={}, setup=self._setup(policy), sets=None),
            rows=rows,
            more={"models": f"trained anew before every {made.asked.test_bars} sessions on what was known then"},
        )

    def _setup(self, policy: Policy) -> dict[str, Any]:
        asked = self._windows.asked
        thresholds = {name: getattr(policy, name) for name in ("buy_threshold", "sell_threshold", "confidence_threshold")}
        costs = {"capital": asked.capital, "costs": named(setup_of(asked).costs)}
        return {"engine": KIND, "retrained_every": asked.test_bars} | costs | thresholds


def open_job(
    request: Plain, made: Callable[[WalkForwardRequest], Windows], params: ParamStore
) -> WalkForwardJob | ModelWalkForwardJob:
    """The job of a request, by its strategy."""
    if parse(WalkForwardRequest, request).strategy == MODEL_DRIVEN:
        return ModelWalkForwardJob(request, made, params)
    return WalkForwardJob(request, made)


def _kept(answer: Answer) -> dict[str, Any]:
    row = asdict(answer)
    row.pop("symbol")
    row.pop("last_close_at", None)
    return row


def _restored(symbol: str, at: int, kept: Plain) -> Forecast | NoForecast:
    if "code" in kept:
        return NoForecast(symbol=symbol, code=kept["code"], detail=kept["detail"])
    known_at = datetime.fromtimestamp(at, UTC)
    return Forecast(symbol=symbol, last_close_at=known_at, **{**kept, "members": tuple(kept["members"])})
