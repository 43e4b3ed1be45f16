"""What sweeps, searches and walk-forwards stand on: their bars, their setup, and the ledger in which every trial counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from app.backtest.compiled.evaluation import Evaluation, Figures, figures
from app.backtest.compiled.instrument import FillRule, Setup, Sides
from app.domain.bar import BarSeries
from app.domain.errors import InvalidInput
from app.domain.panel import Panel, align
from app.domain.ports import Clock
from app.domain.trial import DataSet, Trial, data_set
from app.engine.costs import CostModel
from app.services.research.request import ResearchRequest
from app.strategies.forecasts import Hybrid
from app.strategies.strategy import Strategy, checked

R = TypeVar("R", bound=ResearchRequest)
MOST_SETS = 100_000


class Store(Protocol):
    """Where stored bars are, and where trials are counted."""

    def bars(self, symbols: Sequence[str], timeframe: str) -> dict[str, BarSeries]:
        """Stored bars by symbol; symbols without any are absent."""
        ...

    def add_trials(self, data_set: DataSet, evaluated: Sequence[Trial]) -> int:
        """How many of them are new; a trial that is known is not counted again."""
        ...

    def counted_trials(self, data_set: DataSet) -> Any:
        """`trials`: how many were counted on this data set and on those that overlap with it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Decisions on bars start <= i < stop of a panel."""

    start: int
    stop: int


class ResearchBench:
    """Bars, strategies and the ledger of trials. read_file: bars of a file by symbol. find: a strategy by its name."""

    def __init__(
        self,
        store: Store,
        *,
        read_file: Callable[[Path, tuple[str, ...]], Mapping[str, BarSeries]],
        find: Callable[[str], Strategy],
        watchlist: Sequence[str],
        clock: Clock,
    ) -> None:
        self._store = store
        self._read_file = read_file
        self._watchlist = tuple(watchlist)
        self._clock = clock
        self._find = find

    def find(self, name: str) -> Strategy:
        """The rule strategy of that name. Raises NotFound, and InvalidInput for one that asks the models."""
        found = self._find(name)
        if isinstance(found, Hybrid):
            raise InvalidInput(
                f"{name} asks the models for forecasts, and a search has none of the past: try its rules alone, "
                "or walk forward with ensemble"
            )
        return found

    def bars(self, request: ResearchRequest) -> dict[str, BarSeries]:
        """The bars asked for, by symbol. Raises InvalidInput for symbols and spans without any."""
        found = self._found(request)
        missing = [symbol for symbol in request.symbols if not len(found.get(symbol, ()))]
        if missing:
            raise InvalidInput(
                f"there are no {request.timeframe} bars of {', '.join(missing[:8])}; check the spelling, collect them first, "
                "or give a file of bars",
                code="unknown_symbol",
            )
        cut = {symbol: _between(series, request) for symbol, series in found.items() if len(series)}
        cut = {symbol: series for symbol, series in cut.items() if len(series)}
        if not cut:
            raise InvalidInput(f"there are no {request.timeframe} bars of that span; widen it", code="too_few_bars")
        return cut

    def fixed(self, request: R) -> tuple[R, dict[str, BarSeries]]:
        """The request with its symbols and its end named, so that it means the same once newer bars are there; its bars."""
        bars = self.bars(request)
        newest = max(int(series.timestamp[-1]) for series in bars.values())
        end = datetime.fromtimestamp(newest, UTC).date()
        return request.model_copy(update={"symbols": tuple(bars), "end": end}), bars

    def panel(self, request: R) -> tuple[R, Panel]:
        """As `fixed`, with the bars aligned."""
        fixed, bars = self.fixed(request)
        return fixed, align(bars)

    def record(
        self,
        panel: Panel,
        span: Span,
        request: ResearchRequest,
        evaluated: Sequence[tuple[Mapping[str, float], Figures]],
        source: str,
    ) -> int:
        """Count the sets that were evaluated on a span of the panel; how many had never been."""
        part = data_set(panel.slice(span.start, span.stop + 1))
        setup = setup_of(request).named()
        at = self._clock.now()
        trials = [
            Trial(
                dataset=part.digest,
                strategy=request.strategy,
                values=dict(values),
                setup=setup,
                source=source,
                evaluated_at=at,
                observations=found.observations,
                mean=found.mean,
                deviation=found.deviation,
                skewness=found.skewness,
                kurtosis=found.kurtosis,
                figures={"total_return": found.total_return, "max_drawdown": found.max_drawdown, "trades": found.trades},
            )
            for values, found in evaluated
        ]
        return self._store.add_trials(part, trials)

    def counted(self, panel: Panel) -> int:
        """How many configurations have ever been tried on these bars, or on bars that overlap with them."""
        return int(self._store.counted_trials(data_set(panel)).trials)

    def _found(self, request: ResearchRequest) -> dict[str, BarSeries]:
        if request.data is None:
            return dict(self._store.bars(request.symbols or self._watchlist, request.timeframe))
        found = dict(self._read_file(Path(request.data), request.symbols))
        other = {series.timeframe for series in found.values()} - {request.timeframe}
        if other:
            raise InvalidInput(f"the file holds {', '.join(sorted(other))} bars, not {request.timeframe}: say so by timeframe")
        return found


def setup_of(request: ResearchRequest) -> Setup:
    """How a request trades and what it pays."""
    costs = CostModel(
        slippage_bps=Decimal(str(request.slippage_bps)),
        commission_bps=Decimal(str(request.commission_bps)),
        commission_per_share=Decimal(str(request.commission_per_share)),
        minimum_commission=Decimal(str(request.minimum_commission)),
    )
    return Setup(
        costs=costs,
        fill=FillRule(request.fill),
        capital=request.capital,
        fraction=request.fraction,
        sides=Sides(request.sides),
        borrow_rate=request.borrow_rate,
    )


def grid_sets(strategy: Strategy, grid: Mapping[str, Sequence[float]], fixed: Mapping[str, float]) -> list[dict[str, float]]:
    """Every combination that the strategy accepts, each complete. Raises InvalidInput for a value that no combination could
    have, for a parameter both varied and held, for more than 100,000 combinations, and when none is accepted."""
    both = sorted(set(grid) & set(fixed))
    if both:
        raise InvalidInput(f"{', '.join(both)}: either varied or held fixed, not both")
    _check_each(strategy, {**{name: tuple(values) for name, values in grid.items()}, **{n: (v,) for n, v in fixed.items()}})
    count = int(np.prod([float(len(values)) for values in grid.values()]))
    if count > MOST_SETS:
        raise InvalidInput(f"{count} combinations are too many: at most {MOST_SETS}; coarsen the grid")
    sets, refusal = [], ""
    for combination in product(*grid.values()):
        try:
            sets.append(checked(strategy, {**fixed, **dict(zip(grid, combination, strict=True))}))
        except InvalidInput as fault:  # values that are sound each by itself and not together
            refusal = fault.message
    if not sets:
        raise InvalidInput(f"the strategy accepts none of the combinations: {refusal}")
    return list({tuple(values.items()): values for values in sets}.values())


def told(found: Figures) -> dict[str, float | int | None]:
    """Figures as plain JSON values."""
    return found._asdict()


def each(evaluation: Evaluation) -> list[Figures]:
    """The figures of every set of an evaluation."""
    return [figures(evaluation, number) for number in range(len(evaluation.returns))]


def _check_each(strategy: Strategy, values: Mapping[str, Sequence[float]]) -> None:
    known = {parameter.name: parameter for parameter in strategy.parameters}
    faults = []
    for name, tried in values.items():
        parameter = known.get(name)
        if parameter is None:
            faults.append(f"{name}: {strategy.name} has no such parameter; it has {', '.join(known) or 'none'}")
            continue
        bad = [v for v in tried if not parameter.low <= v <= parameter.high or (parameter.is_whole and v != int(v))]
        if bad:
            kind = "whole numbers " if parameter.is_whole else ""
            faults.append(f"{name}: {bad[0]:g} is not among its {kind}{parameter.low:g} to {parameter.high:g}")
    if faults:
        raise InvalidInput("; ".join(faults), faults=faults)


def first_judged(panel: Panel, request: ResearchRequest) -> int:
    """The first bar that is not there for warming up."""
    return 0 if request.start is None else int(np.searchsorted(panel.timestamp, _second(request.start)))


def _between(series: BarSeries, request: ResearchRequest) -> BarSeries:
    start, end = request.start, request.end
    first = 0 if start is None else int(np.searchsorted(series.timestamp, _second(start)))
    stop = len(series) if end is None else int(np.searchsorted(series.timestamp, _second(end + timedelta(days=1))))
    return series.slice(max(0, first - request.warmup_bars), stop)


def _second(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
