"""Does anything know its future? Every part of a chain is computed twice, from all bars and from those known at an instant.

The law: what a part says it knew at an instant is the same, to the last bit, whether the bars after that instant are there,
missing, or quite different ones. The idea of cutting off the data and comparing is freqtrade's lookahead-analysis; here it
holds for whole chains (columns to scores, features to decisions), for models and for what is joined from other symbols.

What it cannot see: a part that takes its knowledge from outside the bars it is given, and a leak that none of the instants
looked at touches. `restated` compares two tellings of the same bars instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from app.backtest.analysers.futures import CHEAP, COSTLY, PRICES, Bars, futures
from app.domain.bar import BarSeries, Seconds
from app.domain.errors import InvalidInput

Progress = Callable[[int, int, str], None]
ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What a part says of one symbol, row by row.

    key: what tells the rows apart, ascending (the bar's label, or when a row was decided), seconds. known_at: from when each
    row claims to be known, seconds. columns: by name, numbers or texts. All arrays have shape (n_rows,).
    """

    key: Seconds
    known_at: Seconds
    columns: Mapping[str, npt.NDArray[Any]]


Tables = Mapping[str, Table]  # by symbol
_NOTHING = Table(key=np.empty(0, dtype=np.int64), known_at=np.empty(0, dtype=np.int64), columns={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One link of a chain. of: bars and the instant of knowledge in, a table by symbol out; it may be given more bars than were
    known then. is_costly: looked at once, at the newest instant."""

    name: str
    of: Callable[[Bars, datetime], Tables]
    is_costly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A value that depends on the future. future: what was done to it. bar: key of the first row that differs. known: its value
    from what was known at `at`; told: its value with all bars. rows: how many rows differ."""

    part: str
    future: str
    symbol: str
    column: str
    at: datetime
    bar: datetime
    known: str
    told: str
    rows: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What an analysis found. parts: in the order of the chain; the first one named by a finding is where the leak is, those
    after it inherit it. compared: values compared. bars: of the longest series. needs: by column, how many bars the newest
    value depends on, None for more than were tried. notes: what was left out, and why."""

    subject: str
    parts: tuple[str, ...]
    findings: tuple[Finding, ...]
    compared: int
    bars: int
    needs: Mapping[str, int | None] | None = None
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing differs, and something was compared."""
        return not self.findings and self.compared > 0

    @property
    def leak(self) -> str | None:
        """The first part of the chain that differs."""
        found = {finding.part for finding in self.findings}
        return next((part for part in self.parts if part in found), None)


def look(
    subject: str,
    chain: Sequence[Part],
    bars: Bars,
    instants: Sequence[datetime],
    *,
    progress: Progress = lambda _done, _total, _what: None,
) -> Findings:
    """Compare every part of `chain` at every instant, with every future. Raises InvalidInput without bars or instants.

    progress(done, total, part) comes after each comparison; what it raises ends the analysis.
    """
    if not bars or not instants:
        raise InvalidInput("there are too few bars to cut off any: give a longer history")
    plan = [(part, at) for part in chain for at in (sorted(instants)[-1:] if part.is_costly else sorted(instants))]
    found: dict[tuple[str, str, str], Finding] = {}
    compared, refused = Counter[str](), dict[str, str]()
    for done, (part, at) in enumerate(plan, start=1):
        told = answer(part, bars, at)
        if ERROR in told.get("", _NOTHING).columns:
            refused[part.name] = str(told[""].columns[ERROR][0])
        for future, other in futures(bars, at, COSTLY if part.is_costly else CHEAP):
            count, differing = compare(part.name, future, answer(part, other, at), told, at)
            compared[part.name] += count
            for one in differing:
                found.setdefault((one.part, one.symbol, one.column), one)
        progress(done, len(plan), part.name)
    unseen = next((name for name in refused if not compared[name]), None)
    if unseen is not None:
        raise InvalidInput(f"{subject}: nothing could be compared of its {unseen}: {refused[unseen]}")
    return Findings(
        subject=subject,
        parts=tuple(dict.fromkeys(part.name for part in chain)),
        findings=tuple(found.values()),
        compared=compared.total(),
        bars=max(len(series) for series in bars.values()),
    )


def answer(part: Part, bars: Bars, at: datetime) -> Tables:
    """What `part` says; a refusal of the data is an answer too, and must be the same with every future."""
    try:
        return part.of(bars, at)
    except InvalidInput as fault:
        text = np.array([fault.message], dtype=object)
        nought = np.zeros(1, dtype=np.int64)
        return {"": Table(key=nought, known_at=nought, columns={ERROR: text})}


def compare(part: str, future: str, known: Tables, told: Tables, at: datetime) -> tuple[int, list[Finding]]:
    """How many values were compared, and one finding for each column of a symbol that differs in rows known by `at`."""
    compared, found = 0, []
    for symbol in dict.fromkeys([*told, *known]):
        mine, theirs = _by(known.get(symbol), at), _by(told.get(symbol), at)
        both, i, j = np.intersect1d(mine.key, theirs.key, assume_unique=True, return_indices=True)
        lone = np.setxor1d(mine.key, theirs.key, assume_unique=True)
        if len(lone):
            sides = ["a row" if lone[0] in side.key else "no row" for side in (mine, theirs)]
            found.append(_finding(part, future, symbol, "row", at, int(lone[0]), sides[0], sides[1], len(lone)))
        for name in dict.fromkeys([*theirs.columns, *mine.columns]):
            if name not in mine.columns or name not in theirs.columns:
                sides = ["a column" if name in side.columns else "no column" for side in (mine, theirs)]
                if len(mine.key) and len(theirs.key):
                    found.append(_finding(part, future, symbol, name, at, int(at.timestamp()), sides[0], sides[1], 1))
                continue
            ours, others = mine.columns[name][i], theirs.columns[name][j]
            compared += len(both) if name != ERROR else 0
            rows = np.flatnonzero(_differ(ours, others))
            if len(rows):
                first = int(rows[0])
                values = (_text(ours[first]), _text(others[first]))
                found.append(_finding(part, future, symbol, name, at, int(both[first]), *values, len(rows)))
    return compared, found


def restated(earlier: Bars, later: Bars) -> list[Finding]:
    """Bars of an earlier telling that a later one tells otherwise, or no longer. What a backtest on the later telling sees was
    not known at the time."""
    found = []
    for symbol, series in earlier.items():
        now = later.get(symbol)
        told = {symbol: _as_table(now)} if now is not None else {}
        at = datetime.fromtimestamp(int(series.known_at[-1]) if len(series) else 0, UTC)
        found += compare("data", "restated", {symbol: _as_table(series)}, _only(told, series), at)[1]
    return found


def newest_needs(part: Part, bars: Bars, at: Sequence[datetime], *, most: int) -> dict[str, int | None]:
    """By column, the fewest bars from which the newest row at every instant is what all bars before it give; None for more
    than `most`. Found by halving: it takes for granted that more bars never make it worse."""
    needs: dict[str, int | None] = {}
    for instant in at:
        before = {symbol: series.known_by(instant) for symbol, series in bars.items()}
        longest = max(len(series) for series in before.values())
        newest = _newest(answer(part, before, instant))
        tried: dict[int, dict[str, list[Any]]] = {}
        for column, wanted in newest.items():
            low, high = 1, min(most, longest)
            if not _same(_from_last(part, before, instant, high, tried).get(column), wanted):
                needs[column] = None
                continue
            while low < high:
                middle = (low + high) // 2
                is_enough = _same(_from_last(part, before, instant, middle, tried).get(column), wanted)
                low, high = (low, middle) if is_enough else (middle + 1, high)
            known = needs.get(column, 0)
            needs[column] = None if known is None else max(known, low)
    return needs


def newest_differs(part: Part, bars: Bars, at: datetime, length: int) -> tuple[int, list[Finding]]:
    """Whether the newest row from the last `length` bars is that from all bars known at `at`."""
    before = {symbol: series.known_by(at) for symbol, series in bars.items()}
    start = min((int(series.timestamp[-1]) for series in before.values() if len(series)), default=0)
    recent = {symbol: series.last(length) for symbol, series in before.items()}
    tables = (_from(answer(part, recent, at), start), _from(answer(part, before, at), start))
    return compare("memory", f"last {length} bars", *tables, at)


def _from_last(
    part: Part, before: Bars, at: datetime, length: int, tried: dict[int, dict[str, list[Any]]]
) -> dict[str, list[Any]]:
    if length not in tried:
        tried[length] = _newest(answer(part, {symbol: series.last(length) for symbol, series in before.items()}, at))
    return tried[length]


def _newest(told: Tables) -> dict[str, list[Any]]:
    """The last value of each column, of every symbol in order."""
    found: dict[str, list[Any]] = {}
    for table in told.values():
        for name, values in table.columns.items():
            found.setdefault(name, []).append(values[-1] if len(values) else None)
    return found


def _same(mine: list[Any] | None, theirs: list[Any]) -> bool:
    if mine is None or len(mine) != len(theirs):
        return False
    return not any(_differ(np.array([a]), np.array([b]))[0] for a, b in zip(mine, theirs, strict=True))


def _from(told: Tables, start: int) -> Tables:
    return {symbol: _rows(table, table.key >= start) for symbol, table in told.items()}


def _by(table: Table | None, at: datetime) -> Table:
    """The rows that claim to be known at `at`."""
    return _NOTHING if table is None else _rows(table, table.known_at <= int(at.timestamp()))


def _rows(table: Table, wanted: npt.NDArray[np.bool_]) -> Table:
    columns = {name: values[wanted] for name, values in table.columns.items()}
    return Table(key=table.key[wanted], known_at=table.known_at[wanted], columns=columns)


def _differ(mine: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    differing = mine != theirs
    if mine.dtype.kind == "f" and theirs.dtype.kind == "f":
        differing &= ~(np.isnan(mine) & np.isnan(theirs))
    return np.asarray(differing, dtype=bool)


def _finding(
    part: str, future: str, symbol: str, column: str, at: datetime, bar: int, known: str, told: str, rows: int
) -> Finding:
    return Finding(
        part=part,
        future=future,
        symbol=symbol,
        column=column,
        at=at,
        bar=datetime.fromtimestamp(bar, UTC),
        known=known,
        told=told,
        rows=rows,
    )


def _text(value: Any) -> str:
    return f"{value:.12g}" if isinstance(value, (float, np.floating)) else str(value)


def _as_table(series: BarSeries) -> Table:
    columns = {name: getattr(series, name) for name in (*PRICES, "volume")}
    return Table(key=series.timestamp, known_at=series.known_at, columns=columns)


def _only(told: Tables, series: BarSeries) -> Tables:
    """Without bars that the earlier telling did not reach yet or no longer has."""
    if not len(series):
        return told
    first, last = int(series.timestamp[0]), int(series.timestamp[-1])
    return {symbol: _rows(table, (table.key >= first) & (table.key <= last)) for symbol, table in told.items()}
