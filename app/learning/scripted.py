"""Scripted forecasts for drills and tests: a file says what is expected of each symbol."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from app.domain.bar import BarSeries
from app.domain.errors import ConfigurationError
from app.domain.forecast import Forecast, NoForecast

_COLUMNS = ("symbol", "expected_return", "confidence", "from")
_ALWAYS = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedRow:
    """One line of the script. expected_return: daily, a fraction. confidence: 0..1. since: in force from then on."""

    symbol: str
    expected_return: float
    confidence: float
    since: datetime


class ScriptedForecaster:
    """The `Forecaster` that answers from a CSV (header symbol,expected_return,confidence[,from]) or JSON file (a list of
    objects with those keys). `from` is an ISO instant; of a symbol's rows the latest one not after `at` holds.

    The file is read again when it changes. A malformed file raises ConfigurationError at the start, naming the line;
    one that goes bad later leaves every symbol without a forecast until it is mended.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._fingerprint()
        self._rows = _by_symbol(read_script(path))
        self._fault: str | None = None

    def forecast(self, bars: Mapping[str, BarSeries], at: datetime) -> dict[str, Forecast | NoForecast]:
        """One answer per symbol; those not in the script get NoForecast(not_scripted)."""
        self._refresh()
        return {symbol: self._answer(symbol, series.known_by(at), at) for symbol, series in bars.items()}

    def _answer(self, symbol: str, known: BarSeries, at: datetime) -> Forecast | NoForecast:
        if self._fault is not None:
            return NoForecast(symbol=symbol, code="not_scripted", detail=self._fault)
        row = max((r for r in self._rows.get(symbol, ()) if r.since <= at), key=lambda r: r.since, default=None)
        if row is None:
            return NoForecast(symbol=symbol, code="not_scripted", detail=f"{self._path.name} says nothing about it by now")
        if not len(known):
            return NoForecast(symbol=symbol, code="too_few_bars", detail="no completed daily bar is known")
        last_close = float(known.close[-1])
        if not (math.isfinite(last_close) and last_close > 0):
            return NoForecast(symbol=symbol, code="not_finite", detail=f"the last close is {last_close}")
        return Forecast(
            symbol=symbol,
            daily_return=row.expected_return,
            confidence=row.confidence,
            members=(row.expected_return,),
            last_close=last_close,
            last_close_at=datetime.fromtimestamp(int(known.known_at[-1]), UTC),
            model=f"scripted:{self._path.name}",
        )

    def _refresh(self) -> None:
        seen = self._fingerprint()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._rows, self._fault = _by_symbol(read_script(self._path)), None
        except ConfigurationError as fault:
            self._fault = fault.message

    def _fingerprint(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


def read_script(path: Path) -> tuple[ScriptedRow, ...]:
    """The rows of a script file, in its order. Raises ConfigurationError naming the file and the line or entry."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"{path.name}: the file of scripted forecasts cannot be read") from None
    entries = _json_entries(path.name, text) if path.suffix.lower() == ".json" else _csv_entries(path.name, text)
    rows = tuple(_row(where, entry) for where, entry in entries)
    seen: dict[tuple[str, datetime], str] = {}
    for (where, _), row in zip(entries, rows, strict=True):
        if (first := seen.setdefault((row.symbol, row.since), where)) != where:
            raise ConfigurationError(f"{where}: {row.symbol} was already given for the same time in {first}")
    return rows


def _by_symbol(rows: Iterable[ScriptedRow]) -> dict[str, list[ScriptedRow]]:
    found: dict[str, list[ScriptedRow]] = {}
    for row in rows:
        found.setdefault(row.symbol, []).append(row)
    return found


def _csv_entries(name: str, text: str) -> list[tuple[str, Mapping[str, object]]]:
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True, strict=True)
    try:
        header = [column.strip() for column in reader.fieldnames or ()]
        if len(set(header)) != len(header) or not set(_COLUMNS[:3]) <= set(header) <= set(_COLUMNS):
            raise ConfigurationError(f"{name} line 1: the header must be symbol,expected_return,confidence[,from]")
        reader.fieldnames = header
        return [(f"{name} line {reader.line_num}", row) for row in reader]
    except csv.Error as fault:
        raise ConfigurationError(f"{name} line {reader.line_num}: {fault}") from None


def _json_entries(name: str, text: str) -> list[tuple[str, Mapping[str, object]]]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as fault:
        raise ConfigurationError(f"{name} line {fault.lineno}: not JSON: {fault.msg}") from None
    except RecursionError:
        raise ConfigurationError(f"{name}: nested too deeply") from None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise ConfigurationError(f"{name}: must be a list of objects with symbol, expected_return, confidence[, from]")
    return [(f"{name} entry {number}", entry) for number, entry in enumerate(found, start=1)]


def _row(where: str, entry: Mapping[str, object]) -> ScriptedRow:
    unknown = [key for key in entry if key not in _COLUMNS]
    if unknown:
        raise ConfigurationError(f"{where}: unknown value or key {unknown[0] or entry[unknown[0]]!r}")
    symbol = str(entry.get("symbol") or "").strip().upper()
    if not symbol:
        raise ConfigurationError(f"{where}: symbol is missing")
    return ScriptedRow(
        symbol=symbol,
        expected_return=_number(where, entry, "expected_return", -0.99, 1.0),
        confidence=_number(where, entry, "confidence", 0.0, 1.0),
        since=_instant(where, entry.get("from")),
    )


def _number(where: str, entry: Mapping[str, object], key: str, low: float, high: float) -> float:
    raw = entry.get(key)
    try:
        value = math.nan if isinstance(raw, bool) else float(raw)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        value = math.nan
    if not low <= value <= high:
        raise ConfigurationError(f"{where}: {key} must be a number in {low}..{high}, got {raw!r:.40}")
    return value


def _instant(where: str, raw: object) -> datetime:
    if raw is None or (isinstance(raw, str) and not raw.strip()):
        return _ALWAYS
    try:
        at = datetime.fromisoformat(str(raw).strip())
    except ValueError:
        raise ConfigurationError(f"{where}: from must be an ISO date and time, got {raw!r:.40}") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
