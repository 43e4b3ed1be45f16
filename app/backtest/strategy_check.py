"""A strategy before the analysers: columns and score on whole data, on data with gaps, and as a later split tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from app.backtest.lookahead import (
    Answer,
    Bars,
    Finding,
    Findings,
    Part,
    Progress,
    Table,
    answer,
    compare,
    holed,
    instants,
    look,
    newest_differs,
    newest_needs,
    split_later,
)
from app.domain.bar import Floats
from app.domain.errors import InvalidInput
from app.domain.panel import Panel, align
from app.strategies.strategy import Strategy, Values

COLUMNS, SCORE, RESTATED, MEMORY = "columns", "score", "restated", "memory"
INSTANTS = 8
WARMUP_INSTANTS = 4


def strategy_chain(strategy: Strategy, values: Values) -> tuple[Part, Part]:
    """Its columns, and the score from them. values: complete (see `app.strategies.strategy.checked`)."""

    def columns(bars: Bars, at: datetime) -> Answer:  # noqa: ARG001 - a strategy takes what it is given for known
        panel = align(bars)
        return _tables(panel, strategy.columns(panel, values), strategy.name)

    def score(bars: Bars, at: datetime) -> Answer:  # noqa: ARG001
        panel = align(bars)
        scores = strategy.score(strategy.columns(panel, values), values)
        return _tables(panel, {SCORE: scores}, strategy.name)

    return Part(name=COLUMNS, of=columns), Part(name=SCORE, of=score)


def check_lookahead(
    strategy: Strategy,
    values: Values,
    bars: Bars,
    *,
    progress: Progress = lambda _done, _total, _what: None,
) -> Findings:
    """Columns and score with the future cut off or replaced, on these bars and on the same with gaps and late listings; the
    score once more with prices and volumes as a later split of two for one would restate them."""
    chain, memory = strategy_chain(strategy, values), strategy.memory(values)
    recent = _recent(bars, memory)
    at = _instants(recent, memory)
    total = 2 * len(chain) * len(at) + 1
    found = look(strategy.name, chain, recent, at, progress=lambda done, _, what: progress(done, total, what))
    gaps = holed(recent)
    more = look(
        strategy.name,
        chain,
        gaps,
        [*at, *_in_gaps(gaps)],
        progress=lambda done, _, what: progress(total // 2 + min(done, total // 2), total, f"{what}, with gaps"),
    )
    newest = datetime.fromtimestamp(max(int(s.known_at[-1]) for s in recent.values()), UTC)
    score = chain[1]
    split = compare(RESTATED, "split later", answer(score, recent, newest), answer(score, split_later(recent), newest), newest)
    progress(total, total, RESTATED)
    return replace(
        found,
        parts=(*found.parts, RESTATED),
        findings=_first_of_each([*found.findings, *more.findings, *split[1]]),
        compared=found.compared + more.compared + split[0],
    )


def check_warmup(
    strategy: Strategy,
    values: Values,
    bars: Bars,
    *,
    progress: Progress = lambda _done, _total, _what: None,
) -> Findings:
    """Whether the last `memory` bars, and a few lengths above, give the newest score of all bars; and how many bars each column
    really needs. Only the score is bound by the declared memory."""
    chain, memory = strategy_chain(strategy, values), strategy.memory(values)
    if memory < 1:
        raise InvalidInput(f"{strategy.name} declares a memory of {memory} bars; the newest bar is one, so give 1 at least")
    recent = _recent(bars, memory)
    at = _instants(recent, memory)
    lengths = (memory, memory + 1, 2 * memory, 3 * memory + 7)
    total = len(at) + len(chain)
    compared, found = 0, list[Finding]()
    for done, instant in enumerate(at, start=1):
        for length in lengths:
            count, differing = newest_differs(chain[1], recent, instant, length)
            compared += count
            found += differing
        progress(done, total, MEMORY)
    needs: dict[str, int | None] = {}
    for part in reversed(chain):
        needs |= newest_needs(part, recent, at[-WARMUP_INSTANTS:], most=3 * memory + 7)
        progress(total, total, part.name)
    return Findings(
        subject=strategy.name,
        parts=(MEMORY,),
        findings=_first_of_each(found),
        compared=compared,
        bars=max(len(series) for series in recent.values()),
        needs=needs,
        notes=(f"declared memory: {memory} bars",),
    )


def _tables(panel: Panel, columns: dict[str, Floats], name: str) -> Answer:
    for column, values in columns.items():
        if np.shape(values) != panel.close.shape:
            raise InvalidInput(
                f"{name}: {column} has shape {np.shape(values)}; it must have one value for each symbol and bar, "
                f"{panel.close.shape}"
            )
    return {
        symbol: Table(
            key=panel.timestamp,
            known_at=panel.known_at,
            columns={column: np.asarray(values, dtype=np.float64)[row] for column, values in columns.items()},
        )
        for row, symbol in enumerate(panel.symbols)
    }


def _recent(bars: Bars, memory: int) -> Bars:
    """As many of the newest bars as the comparison needs; more cost time and show nothing new."""
    wanted = max(600, 6 * memory)
    return {symbol: series.last(wanted) for symbol, series in bars.items()}


def _instants(bars: Bars, memory: int) -> list[datetime]:
    found = instants(bars, first=memory, count=INSTANTS)
    if not found:
        longest = max((len(series) for series in bars.values()), default=0)
        raise InvalidInput(f"{longest} bars are too few for a memory of {memory} bars: give more than {memory + 1}")
    return found


def _in_gaps(bars: Bars) -> list[datetime]:
    """An instant before the late listings, and one inside each gap."""
    longest = max(bars.values(), key=len)
    places = (len(longest) // 4, len(longest) // 2 + 1, 4 * len(longest) // 5 + 1)
    return [datetime.fromtimestamp(int(longest.known_at[place]), UTC) for place in places]


def _first_of_each(found: Sequence[Finding]) -> tuple[Finding, ...]:
    kept: dict[tuple[str, str, str], Finding] = {}
    for one in found:
        kept.setdefault((one.part, one.symbol, one.column), one)
    return tuple(kept.values())
