"""CheckService: nothing that looks ahead is promoted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Protocol

import structlog

from app.backtest.analysers.futures import Bars, instants
from app.backtest.analysers.lookahead import Finding, Findings, Progress, compare, look, newest_differs, newest_needs
from app.backtest.analysers.strategy_check import MEMORY, check_lookahead, check_warmup
from app.domain.bar import DAILY, BarSeries
from app.domain.errors import Conflict, InvalidInput
from app.domain.verdict import LookaheadCheck
from app.learning.features import MEMORY as MODEL_MEMORY
from app.learning.training import MINIMUM_BARS
from app.risk.limits import Policy, RiskLimits
from app.runtime.calendar import TradingCalendar, new_york_calendar
from app.services.strategies.check_gate import MODEL, CheckedContents
from app.services.strategies.model_chain import CALIBRATION, FEATURES, FORECAST, LABELS, ROWS, ModelSteps, judged, model_chain
from app.services.strategies.model_chain import MODEL as TRAINED
from app.strategies.catalog import MODEL_DRIVEN
from app.strategies.strategy import Strategy, Values, checked

log = structlog.get_logger()
MODEL_BARS = MINIMUM_BARS + 200
_INSTANTS = 4
_TRAINED = (FEATURES, LABELS, ROWS, CALIBRATION, TRAINED, FORECAST)  # what a training makes; the rules weigh 100 MB more
_QUIET: Progress = lambda _done, _total, _what: None  # noqa: E731


class Stored(Protocol):
    """Where stored bars are."""

    def bars(self, symbols: Sequence[str], timeframe: str) -> dict[str, BarSeries]:
        """Stored bars by symbol; symbols without any are absent."""
        ...


class CheckService:
    """Lookahead and warm-up analysis of strategies and of the models.

    find: a strategy by its name; raises NotFound. generate: daily bars of symbols over a span, for whoever has none.
    checked_contents: where what came of a look for lookahead is kept.
    """

    def __init__(
        self,
        stored: Stored,
        *,
        find: Callable[[str], Strategy],
        generate: Callable[[Sequence[str], date, date], Bars],
        watchlist: Sequence[str],
        limits: RiskLimits,
        policy: Policy,
        calendar: Callable[[], TradingCalendar] = new_york_calendar,
        steps: ModelSteps | None = None,
        checked_contents: CheckedContents | None = None,
    ) -> None:
        self._stored = stored
        self._find = find
        self._generate = generate
        self._watchlist = tuple(watchlist)
        self._limits = limits
        self._policy = policy
        self._calendar = calendar
        self._steps = steps or ModelSteps()
        self._checked_contents = checked_contents

    def bars(self, symbols: Sequence[str] = (), timeframe: str = DAILY) -> Bars:
        """Stored bars of the symbols (default: the first four of the watch list), or else a generated market."""
        names = tuple(symbols) or self._watchlist[:4]
        found = {
            symbol: series for symbol, series in self._stored.bars(names, timeframe).items() if len(series) >= MINIMUM_BARS
        }
        return found or self.generated(names)

    def generated(self, symbols: Sequence[str] = ()) -> Bars:
        """Daily bars of a generated market, four years of them."""
        return self._generate(tuple(symbols) or self._watchlist[:4], date(2020, 1, 2), date(2023, 12, 29))

    def lookahead(
        self, name: str, *, bars: Bars | None = None, values: Values | None = None, progress: Progress = _QUIET
    ) -> Findings:
        """Whether anything of a strategy, or of the models (name `model`), depends on the future. values: of its parameters.
        What comes of it is kept, for the gate before real money."""
        data, complete = self.bars() if bars is None else bars, dict[str, float]()
        if name in (MODEL, MODEL_DRIVEN):
            found = self.models(data, progress=progress)
        else:
            strategy = self._find(name)
            complete = checked(strategy, values or {})
            found = check_lookahead(strategy, complete, data, progress=progress)
        if self._checked_contents is not None:
            self._checked_contents.keep(name, complete, found.leak, passed=found.passed)
        return found

    def override(self, name: str, values: Values, *, actor: str, reason: str) -> LookaheadCheck:
        """A person's word against the check of a strategy with these parameters, or of the models; see
        `CheckedContents.override`."""
        if self._checked_contents is None:
            raise InvalidInput("checks are not kept here")
        complete = {} if name in (MODEL, MODEL_DRIVEN) else checked(self._find(name), values)
        return self._checked_contents.override(name, complete, actor=actor, reason=reason)

    def warmup(
        self, name: str, *, bars: Bars | None = None, values: Values | None = None, progress: Progress = _QUIET
    ) -> Findings:
        """Whether the bars that a strategy, or the models, declare to need are enough, and how many each column needs."""
        data = self.bars() if bars is None else bars
        if name in (MODEL, MODEL_DRIVEN):
            return self._model_warmup(data, progress)
        strategy = self._find(name)
        return check_warmup(strategy, checked(strategy, values or {}), data, progress=progress)

    def strategy(self, name: str, values: Values | None = None, bars: Bars | None = None) -> Findings:
        """The gate before a promotion: lookahead and warm-up together; `passed` says whether it may go on."""
        data = self.bars() if bars is None else bars
        ahead = self.lookahead(name, bars=data, values=values)
        warm = self.warmup(name, bars=data, values=values)
        return replace(
            ahead,
            parts=(*ahead.parts, *warm.parts),
            findings=(*ahead.findings, *warm.findings),
            compared=ahead.compared + warm.compared,
            needs=warm.needs,
            notes=(*ahead.notes, *warm.notes),
        )

    def models(self, bars: Bars, *, progress: Progress = _QUIET, parts: Collection[str] = ()) -> Findings:
        """The whole chain of the models on the first symbol with enough bars: features, labels, rows, calibration, model,
        forecast, sizing and decision, or the named parts alone. Takes a few trainings, so a few seconds."""
        sample = {symbol: series.last(MODEL_BARS) for symbol, series in bars.items() if len(series) >= MODEL_BARS - 100}
        sample = dict(list(sample.items())[:1])
        if not sample:
            raise InvalidInput(f"no symbol has the {MODEL_BARS - 100} daily bars that a check of the models needs")
        if any(series.timeframe != DAILY for series in sample.values()):
            raise InvalidInput("the models learn from daily bars: give daily bars")
        at = instants(sample, first=MODEL_BARS - 150, count=_INSTANTS)
        whole = model_chain(self._steps, self._limits, self._policy)
        chain = [part for part in whole if not parts or part.name in parts]
        found = look(MODEL, chain, sample, at, progress=progress)
        newest = max(at)
        seen, blind = judged(self._steps, sample, newest), judged(self._steps, sample, newest, is_blind=True)
        count, differing = compare(CALIBRATION, "unknown labels and features changed", blind, seen, newest)
        return replace(found, findings=(*found.findings, *differing), compared=found.compared + count)

    def gate(self, bars: Bars) -> None:
        """Before models trained from these bars replace those in use: the whole way from features to forecasts is looked at on
        one symbol. Raises Conflict when anything there looks ahead."""
        enough = {symbol: series for symbol, series in bars.items() if len(series) >= MODEL_BARS - 100}
        found = self.models(enough or self.generated(), parts=_TRAINED)
        log.info("models_checked", passed=found.passed, leak=found.leak, compared=found.compared)
        if not found.passed:
            first = rows_of(found.findings)[0] if found.findings else {"part": "nothing could be compared"}
            where = ", ".join(f"{name} {value}" for name, value in first.items())
            raise Conflict(
                f"no model was replaced: what they are trained on looks ahead ({where}); see `trader check lookahead model`",
                code="looks_ahead",
            )

    def _model_warmup(self, bars: Bars, progress: Progress) -> Findings:
        """Of the features, the only part of the models that looks back over bars when a forecast is made."""
        part = next(p for p in model_chain(self._steps, self._limits, self._policy) if p.name == FEATURES)
        recent = {symbol: series.last(4 * MODEL_MEMORY) for symbol, series in list(bars.items())[:2]}
        at = instants(recent, first=2 * MODEL_MEMORY, count=_INSTANTS)
        if not at:
            raise InvalidInput(f"more than {2 * MODEL_MEMORY} daily bars are needed to look at a memory of {MODEL_MEMORY}")
        compared, found = 0, list[Finding]()
        for done, instant in enumerate(at, start=1):
            for length in (MODEL_MEMORY, MODEL_MEMORY + 1, 2 * MODEL_MEMORY):
                count, differing = newest_differs(part, recent, instant, length)
                compared, found = compared + count, found + differing
            progress(done, len(at) + 1, MEMORY)
        needs: Mapping[str, int | None] = newest_needs(part, recent, at[-1:], most=2 * MODEL_MEMORY)
        progress(len(at) + 1, len(at) + 1, MEMORY)
        return Findings(
            subject=MODEL,
            parts=(MEMORY,),
            findings=tuple(found),
            compared=compared,
            bars=max(len(series) for series in recent.values()),
            needs=needs,
            notes=(f"declared memory: {MODEL_MEMORY} bars",),
        )


def rows_of(findings: Iterable[Finding]) -> list[dict[str, object]]:
    """Rows for a person: what differs, where first, and the two values."""
    return [
        {
            "part": one.part,
            "symbol": one.symbol,
            "column": one.column,
            "first bar": f"{one.bar:%Y-%m-%d %H:%M}",
            "known by": f"{one.at:%Y-%m-%d %H:%M}",
            "future": one.future,
            "from what was known": one.known[:24],
            "with the future": one.told[:24],
            "rows": one.rows,
        }
        for one in findings
    ]
