"""Thousands of parameter sets of one strategy on one instrument, each by the compiled kernel.

What sets share is computed once: the lines of a crossing strategy, else the columns as long as no value differs that was read
for them. Sets are spread over threads (the kernel holds no lock); memory is bounded by the lines held at a time, whatever the
number of sets. Every set is a trial, and the best of many is lucky: see `Sweep.trials`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from queue import SimpleQueue
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from app.backtest.compiled import kernel
from app.backtest.compiled.instrument import Instrument, Setup, as_columns, instrument, summarise, votes_of
from app.backtest.compiled.kernel_terms import SUMS, Integers, Terms, Votes
from app.backtest.statistics.periods import Year
from app.domain.bar import Floats
from app.domain.errors import InvalidInput
from app.domain.panel import Panel
from app.domain.trial import Trial
from app.strategies.columns import Bars
from app.strategies.lines import Crossing, Line
from app.strategies.strategy import Columns, Strategy, Values

Progress = Callable[[int, int, str], None]
_BATCH = 16  # sets that a thread does at a time, each from a score of its own
# Pairs of lines that a thread does at a time: many, because a line that comes into the cache should serve all its pairs.
_PAIRS, _VOTES_BYTES = 128, 8 << 20
_NO_MARKS = np.empty(0, dtype=np.int64)
_NO_SPOTS, _NO_AMOUNTS = np.empty((0, 4), dtype=np.int64), np.empty((0, 4))


class HeatMap(NamedTuple):
    """A figure over two parameters. x, y: their values. grid: shape (n_y, n_x), NaN where no set was tried. fixed: the values
    of the other parameters."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    grid: Floats
    fixed: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What each set came to. values: the sets, in the order given. figures: by the names of `research.Figures`, arrays of shape
    (n_sets,). marked: equity at each mark, shape (n_sets, n_marks)."""

    strategy: str
    setup: Setup
    year: Year
    values: tuple[dict[str, float], ...]
    figures: dict[str, Any]
    marked: Floats

    def ranked(self, figure: str = "sharpe_ratio") -> Integers:
        """Numbers of the sets, the greatest figure first, unknown ones last, equal ones in the order given."""
        return np.argsort(-self._figure(figure), kind="stable").astype(np.int64)

    def returns(self) -> Floats:
        """Returns from mark to mark, the first from the capital, shape (n_marks, n_sets): what an estimate of overfitting
        wants."""
        before = np.column_stack([np.full(len(self.values), self.setup.capital), self.marked[:, :-1]])
        return np.ascontiguousarray((self.marked / before - 1.0).T)

    def heat_map(self, x: str, y: str, figure: str = "sharpe_ratio", fixed: Values | None = None) -> HeatMap:
        """`figure` over the parameters x and y. fixed: values of the others; those not given are at their best set's."""
        shown = self._figure(figure)
        allowed = [i for i, values in enumerate(self.values) if all(values[name] == at for name, at in (fixed or {}).items())]
        if not allowed or x == y or not {x, y} <= set(self.values[0]):
            raise InvalidInput(
                f"no set of the sweep lies in the plane of {x} and {y} asked for; its values are {self.values[0]}"
            )
        best = max(allowed, key=lambda i: (shown[i] == shown[i], shown[i]))
        others = {name: at for name, at in self.values[best].items() if name not in (x, y)}
        plane = [i for i in allowed if all(self.values[i][name] == at for name, at in others.items())]
        across, down = (tuple(sorted({self.values[i][name] for i in plane})) for name in (x, y))
        grid = np.full((len(down), len(across)), np.nan)
        for i in plane:
            grid[down.index(self.values[i][y]), across.index(self.values[i][x])] = shown[i]
        return HeatMap(across, down, grid, others)

    def trials(self, dataset: str, evaluated_at: datetime) -> Iterator[Trial]:
        """A trial for each set. dataset: digest of the bars."""
        setup, figures = self.setup.named(), self.figures
        for i, values in enumerate(self.values):
            yield Trial(
                dataset=dataset,
                strategy=self.strategy,
                values=values,
                setup=setup,
                source="sweep",
                evaluated_at=evaluated_at,
                observations=int(figures["observations"][i]),
                **{name: float(figures[name][i]) for name in ("mean", "deviation", "skewness", "kurtosis")},
                figures={name: float(figures[name][i]) for name in ("total_return", "max_drawdown", "trades", "exposure")},
            )

    def _figure(self, name: str) -> Floats:
        if name not in self.figures:
            raise InvalidInput(f"a sweep has no figure {name!r}; it has {', '.join(self.figures)}")
        return np.asarray(self.figures[name], dtype=np.float64)


def sweep(
    strategy: Strategy,
    panel: Panel,
    sets: Sequence[Values],
    setup: Setup,
    *,
    marks: Integers = _NO_MARKS,
    threads: int = 2,
    line_bytes: int = 32 << 20,
    progress: Progress = lambda _done, _total, _message: None,
) -> Sweep:
    """Every set on the bars of the one symbol of `panel`.

    sets: complete and checked (`app.strategies.strategy.checked`). marks: bars of the panel, in order, whose closing equity is
    wanted of every set. line_bytes: of the lines held at a time, at least two. progress comes after every few sets; what it
    raises ends the work within a few runs. Raises InvalidInput for more than one symbol and for no set at all.
    """
    if len(panel.symbols) != 1:
        raise InvalidInput(f"a sweep is over the bars of one symbol, not of {len(panel.symbols)}")
    if not sets:
        raise InvalidInput("there is no parameter set to try")
    market = instrument(panel)
    at = np.searchsorted(market.place, marks, side="right") - 1
    job = _Job(
        market, setup.terms(market.year.periods), at[at >= 0], np.empty((len(sets), SUMS)), np.empty((len(sets), len(marks)))
    )
    job.marked[:, at < 0] = setup.capital
    with ThreadPoolExecutor(threads) as pool:
        crew = _Crew(pool, threads, lambda done: progress(done, len(sets), strategy.name))
        if isinstance(strategy, Crossing):
            _cross(strategy, market, sets, job, crew, line_bytes)
        else:
            crew.finish(_scored(strategy, panel, sets, job))
    figures = summarise(job.sums, len(market.place), market.year, setup.capital)
    values = tuple(dict(one) for one in sets)
    return Sweep(strategy=strategy.name, setup=setup, year=market.year, values=values, figures=figures, marked=job.marked)


class _Job(NamedTuple):
    """marks: in bars of the market. sums, marked: the results, a row a set; the marks before the first bar are set already."""

    market: Instrument
    terms: Terms
    marks: Integers
    sums: Floats
    marked: Floats


Batch = tuple[Callable[[], None], int]  # work, and how many sets it does


class _Crew:
    """The threads of a sweep, and how many sets are done."""

    def __init__(self, pool: ThreadPoolExecutor, threads: int, progress: Callable[[int], None]) -> None:
        self._pool = pool
        self.threads = threads
        self._progress = progress
        self._done = 0

    def finish(self, work: Iterable[Batch]) -> None:
        """Do all of it, a few batches ahead of the one waited for, so that what they need is never all there at once."""
        waiting: deque[tuple[Future[None], int]] = deque()
        batches = iter(work)
        try:
            while True:
                waiting.extend((self._pool.submit(do), count) for do, count in islice(batches, 2 * self.threads - len(waiting)))
                if not waiting:
                    return
                first, count = waiting.popleft()
                first.result()
                self._done += count
                if count:
                    self._progress(self._done)
        except BaseException:
            self._pool.shutdown(wait=True, cancel_futures=True)
            raise


def _cross(strategy: Crossing, market: Instrument, sets: Sequence[Values], job: _Job, crew: _Crew, line_bytes: int) -> None:
    """Pairs of lines, round by round: as many sets as there is room for their lines, sets with lines in common together."""
    pairs = [strategy.lines(values) for values in sets]
    order = sorted(range(len(sets)), key=lambda i: (repr(pairs[i][1].key), repr(pairs[i][0].key)))
    bars = as_columns(market)
    most = min(line_bytes // (8 * len(market.place)), len({line.key for pair in pairs for line in pair}))
    lines = np.empty((max(2, most), len(market.place)))
    batch = max(1, min(_PAIRS, _VOTES_BYTES // market.padded, -(-len(sets) // (4 * crew.threads))))
    rooms: SimpleQueue[Votes] = SimpleQueue()  # one for each thread
    for _ in range(crew.threads):
        rooms.put(np.zeros((batch, market.padded), dtype=np.int8))
    held: dict[Hashable, int] = {}
    for wanted, members in _rounds(order, pairs, len(lines)):
        held = {key: slot for key, slot in held.items() if key in wanted}
        free = (slot for slot in range(len(lines)) if slot not in set(held.values()))
        missing = {key: next(free) for key in wanted if key not in held}
        crew.finish((partial(_draw, wanted[key], bars, lines[slot]), 0) for key, slot in missing.items())
        held |= missing
        slots = np.array([[held[line.key] for line in pairs[i]] for i in members], dtype=np.int64)
        chosen = np.array(members, dtype=np.int64)
        parts = [slice(at, at + batch) for at in range(0, len(chosen), batch)]
        crew.finish((partial(_cross_some, job, lines, slots[part], chosen[part], rooms), len(chosen[part])) for part in parts)


def _rounds(
    order: Sequence[int], pairs: Sequence[tuple[Line, Line]], room: int
) -> Iterator[tuple[dict[Hashable, Line], list[int]]]:
    """The sets in `order`, as many at a time as need at most `room` lines, with these lines."""
    wanted: dict[Hashable, Line] = {}
    members: list[int] = []
    for i in order:
        more: dict[Hashable, Line] = {line.key: line for line in pairs[i]}
        if len(wanted | more) > room:
            yield wanted, members
            wanted, members = {}, []
        wanted |= more
        members.append(i)
    yield wanted, members


def _draw(line: Line, bars: Bars, slot: Floats) -> None:
    slot[:] = line.compute(bars)


def _cross_some(job: _Job, lines: Floats, slots: Integers, chosen: Integers, rooms: SimpleQueue[Votes]) -> None:
    votes = rooms.get()  # written anew up to the last bar, and zero behind it
    sums, marked = np.empty((len(chosen), SUMS)), np.empty((len(chosen), len(job.marks)))
    kernel.cross_all(lines, slots, job.market.bars, job.terms, votes, job.marks, marked, _NO_SPOTS, _NO_AMOUNTS, sums)
    rooms.put(votes)
    _keep(job, chosen, sums, marked)


def _scored(strategy: Strategy, panel: Panel, sets: Sequence[Values], job: _Job) -> Iterator[Batch]:
    """Batches of sets that share their columns."""
    shared = _Shared(strategy, panel)
    asked = shared.read_for(sets[0])
    groups: dict[tuple[float, ...], list[int]] = {}
    for i, values in enumerate(sets):
        groups.setdefault(tuple(values[name] for name in asked), []).append(i)
    for members in groups.values():  # the first is that of the columns computed already
        columns, shared = shared, _Shared(strategy, panel)
        for at in range(0, len(members), _BATCH):
            part = members[at : at + _BATCH]
            yield (
                partial(_score_some, strategy, columns, [sets[i] for i in part], np.array(part, dtype=np.int64), job),
                len(part),
            )


def _score_some(strategy: Strategy, shared: _Shared, sets: Sequence[Values], chosen: Integers, job: _Job) -> None:
    sums, marked = np.empty((len(sets), SUMS)), np.empty((len(sets), len(job.marks)))
    for i, values in enumerate(sets):
        score = strategy.score(shared.columns(values), values)
        votes = votes_of(job.market, score[0], strategy.threshold(values))
        kernel.trade(job.market.bars, votes, job.terms, job.marks, marked[i], _NO_SPOTS, _NO_AMOUNTS, sums[i])
    _keep(job, chosen, sums, marked)


def _keep(job: _Job, chosen: Integers, sums: Floats, marked: Floats) -> None:
    job.sums[chosen] = sums
    job.marked[chosen, job.marked.shape[1] - len(job.marks) :] = marked


class _Shared:
    """Columns of a strategy, computed anew only when a value differs that was read for those before."""

    def __init__(self, strategy: Strategy, panel: Panel) -> None:
        self._strategy = strategy
        self._panel = panel
        self._lock = Lock()
        self._asked: dict[str, float] = {}
        self._columns: Columns | None = None

    def columns(self, values: Values) -> Columns:
        """Those of a set."""
        with self._lock:
            if self._columns is None or any(values[name] != value for name, value in self._asked.items()):
                watched = Watched(values)
                self._columns = self._strategy.columns(self._panel, watched)
                self._asked = {name: values[name] for name in watched.read}
            return self._columns

    def read_for(self, values: Values) -> tuple[str, ...]:
        """Names of the values that the columns of a set are made from."""
        self.columns(values)
        return tuple(sorted(self._asked))


class Watched(Mapping[str, float]):
    """Values that note which of them were read."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> float:
        self.read.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        self.read.update(self._values)
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
