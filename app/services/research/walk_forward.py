"""Walk-forward: parameters chosen, and models trained, on each window's past alone, then used on the bars after it.

A rule strategy is a run with a chunk for each window: every set of the grid is tried on the window's training bars, the best
Sharpe ratio wins, and the winner is used on the test bars. The model-driven one is a run with a chunk for each symbol, whose
models are trained anew before every window. The last chunk trades what was chosen in one account over all test bars.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from app.backtest.compiled.evaluation import Evaluation, Figures, evaluate
from app.backtest.compiled.instrument import FillRule
from app.backtest.driver import Run
from app.backtest.statistics.luck import Plateau, parameter_plateau, pooled
from app.backtest.walk_forward import Chosen, StitchedForecaster, Taped
from app.domain.bar import DAILY, Floats
from app.domain.errors import InvalidInput
from app.domain.forecast import Answer, Forecast, NoForecast
from app.domain.panel import Panel
from app.engine.strategy_rules import strategy_limits, strategy_policy
from app.learning.model import ParamStore
from app.learning.splits import Split, windows
from app.risk.limits import Policy, RiskLimits
from app.runtime.calendar import TradingCalendar
from app.services.research.bench import ResearchBench, Span, each, first_judged, grid_sets, setup_of, told
from app.services.research.request import WalkForwardRequest, parse
from app.services.research.retrained_models import WalkForward, symbol_forecasts
from app.services.research.runs import Plain, Progress
from app.services.research.window_account import Account, Judge, Told, named, sessions_of
from app.strategies.catalog import MODEL_DRIVEN
from app.strategies.columns import VOTE
from app.strategies.strategy import Strategy

KIND = "walk_forward"
_KEPT = (
    "backtest_id",
    "performance",
    "benchmark",
    "verdict",
    "walk_forward",
    "equity_curve",
    "trials",
    "assumptions",
    "dataset",
)  # of the backtest's result in that of the run
MOST_COMPARED_SETS = 256  # their returns are held side by side for the tests of overfitting


class Backtests(Protocol):
    """Where finished backtests are kept."""

    def save_backtest(self, params: Plain, performance: Plain, result: Plain, backtest_id: str | None = None) -> str:
        """Its id. One that is there already stays as it is."""
        ...


class Windows:
    """What both kinds of walk-forward share: bars, windows, and the account at the end."""

    def __init__(
        self,
        asked: WalkForwardRequest,
        *,
        bench: ResearchBench,
        store: Backtests,
        judge: Judge,
        limits: RiskLimits,
        policy: Policy,
        calendar: Callable[[], TradingCalendar],
    ) -> None:
        self.bench, self._store, self._judge, self._limits, self._policy = bench, store, judge, limits, policy
        self.asked, self.panel = bench.panel(asked)
        if FillRule(self.asked.fill) is not FillRule.NEXT_OPEN:
            raise InvalidInput("fill: a walk-forward trades as one can, at the next open; leave it out")
        self.calendar = calendar()

    @cached_property
    def splits(self) -> list[Split]:
        """The windows, by number of the bars. Raises InvalidInput where there are too few bars for one."""
        return _splits(self.panel, self.asked)

    @property
    def first_test(self) -> int:
        """The first bar that is traded."""
        return int(self.splits[0].test[0])

    def spans(self, number: int) -> tuple[Span, Span]:
        """(training bars, test bars) of a window."""
        split = self.splits[number]
        return (
            Span(start=int(split.train[0]), stop=int(split.train[-1]) + 1),
            Span(start=int(split.test[0]), stop=int(split.test[-1]) + 1),
        )

    def finish(
        self,
        run_id: str,
        forecaster: Taped,
        progress: Progress,
        *,
        limits: RiskLimits,
        policy: Policy,
        judged_as: Told,
        rows: Sequence[Plain],
        more: Plain,
    ) -> Plain:
        """Trade, judge, keep as a backtest of the run's id; the result without what only the backtest needs."""
        account = self.account(self.first_test, limits, policy)
        found = account.trade(forecaster, progress)
        answer, judged = account.result(
            found,
            judged_as,
            judge=self._judge,
            assumptions=self._windows_told() | self.assumptions() | dict(more),
            again=lambda multiple: account.trade(forecaster, progress, cost_multiple=multiple),
        )
        told_windows = [{**row, **_account_in(found, row["test"])} for row in rows]
        answer["walk_forward"] = {"windows": told_windows, "degradation": _degradation(told_windows)}
        answer["trials"] = {"counted_on_these_bars": self.bench.counted(self.panel)}
        asked = self.asked.model_dump(mode="json")
        answer["backtest_id"] = run_id
        self._store.save_backtest(asked, answer["performance"], answer, backtest_id=run_id)
        self._judge.keep(judged, run_id)
        return {name: answer[name] for name in _KEPT}

    def account(self, start: int, limits: RiskLimits, policy: Policy) -> Account:
        """One that trades the bars from `start` on."""
        return Account(
            panel=self.panel,
            bars=self.bench.bars(self.asked),
            start=start,
            capital=Decimal(str(self.asked.capital)),
            costs=setup_of(self.asked).costs,
            limits=limits,
            policy=policy,
            calendar=self.calendar,
        )

    def limits_and_policy(self, strategy: Strategy) -> tuple[RiskLimits, Policy]:
        """Those of live trading with this strategy, its scores at `VOTE`."""
        values = {parameter.name: parameter.default for parameter in strategy.parameters}
        policy = strategy_policy(strategy, values, self._policy)
        return strategy_limits(strategy, self._limits), policy._replace(buy_threshold=VOTE, sell_threshold=-VOTE)

    def own_limits_and_policy(self) -> tuple[RiskLimits, Policy]:
        """Those of the settings."""
        return self._limits, self._policy

    def assumptions(self) -> dict[str, Any]:
        """What the account's figures rest on, for people."""
        return {
            "decisions": "when a bar is complete, on the bars known then; fills in later bars, as the bars are",
            "account": "one, with all risk rules of the settings, without a break",
            **{f"cost_{name}": value for name, value in named(setup_of(self.asked).costs).items()},
            "left_out": "dividends, interest on cash, taxes, symbols that stopped trading",
        }

    def _windows_told(self) -> dict[str, str]:
        asked = self.asked
        return {
            "windows": f"{len(self.splits)} of {asked.test_bars} bars, "
            + ("all bars before" if asked.anchored else f"the newest {asked.train_bars} bars before")
            + f" each to choose on, {asked.embargo_bars} bars left out between",
            "benchmark": "equal parts bought at the first open and held, the same slippage and commission_bps once",
        }


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
            "train": _days(self._windows.panel, train),
            "test": _days(self._windows.panel, test),
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
        rows = [{"window": i, "test": _days(made.panel, made.spans(i)[1])} for i in range(len(made.splits))]
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


def _splits(panel: Panel, asked: WalkForwardRequest) -> list[Split]:
    # What a decision on a bar comes to is known with the bar after it: bars are the clock, and the last decides on nothing.
    judged = first_judged(panel, asked)
    bars = np.arange(judged, len(panel) - 1)
    found = windows(
        bars,
        bars + 1,
        train_rows=asked.train_bars,
        test_rows=asked.test_bars,
        anchored=asked.anchored,
        embargo_seconds=asked.embargo_bars,
    )
    return [Split(train=split.train + judged, test=split.test + judged) for split in found if len(split.test) > 1]


def _days(panel: Panel, span: Span) -> dict[str, str]:
    start, end = (datetime.fromtimestamp(int(panel.known_at[i]), UTC) for i in (span.start, span.stop))
    return {"start": start.isoformat(), "end": end.isoformat()}


def _account_in(found: Run, days: Mapping[str, str]) -> dict[str, Any]:
    """Return of the account from the end of a window's first decision to its end."""
    start, end = (datetime.fromisoformat(days[name]) for name in ("start", "end"))
    inside = [float(session.equity) for session in found.sessions if start <= session.closes_at <= end]
    return {"account_return": inside[-1] / inside[0] - 1.0 if len(inside) > 1 and inside[0] > 0 else None}


def _degradation(rows: Sequence[Plain]) -> dict[str, Any] | None:
    """How much of what was seen in sample was left out of sample, over all windows."""
    seen = [(row["in_sample"]["sharpe"], row["out_of_sample"]["sharpe"]) for row in rows if "in_sample" in row]
    if not seen:
        return None
    inside, outside = (float(np.mean(column)) for column in zip(*seen, strict=True))
    return {
        "mean_sharpe_in_sample": inside,
        "mean_sharpe_out_of_sample": outside,
        "kept": outside / inside if inside > 0 else None,
        "windows_with_a_loss": sum(sharpe < 0 for _, sharpe in seen),
    }


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
