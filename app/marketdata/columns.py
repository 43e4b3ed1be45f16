"""The columns of a Parquet or CSV file of bars as arrays, read piece by piece, so that a large file is in memory only once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from app.domain.bar import Floats, Seconds
from app.domain.errors import InvalidInput

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("symbol", "timestamp", "open", "high", "low", "close", "volume")
SHAPE = f"expected one row per symbol and bar with the columns {', '.join(COLUMNS)}"
NO_TIME = np.iinfo(np.int64).min
_NUMBERS = COLUMNS[2:]


@dataclass(frozen=True, slots=True)
class Rows:
    """Columns of shape (n_rows,): symbol numbers into `names`, seconds, and (5, n_rows) open, high, low, close, volume."""

    names: list[str]
    symbol: npt.NDArray[np.int32]
    seconds: Seconds
    values: Floats

    def keep(self, mask: npt.NDArray[Any]) -> Rows:
        """The rows of a mask or of a list of row numbers."""
        return Rows(self.names, self.symbol[mask], self.seconds[mask], self.values[:, mask])


def read_rows(path: Path) -> Rows:
    """All rows of a file: names sorted, "" for a missing one; `NO_TIME` where a cell is no time, NaN where it is no number.

    Raises InvalidInput for a file of another shape.
    """
    if not path.is_file():
        raise InvalidInput(f"there is no file {path}; give the path of a Parquet or CSV file of bars")
    with _unreadable(path):
        count, pieces = _pieces(path)
    names: dict[str, int] = {"": 0}
    symbol, seconds = np.zeros(count, dtype=np.int32), np.empty(count, dtype=np.int64)
    values, filled = np.empty((len(_NUMBERS), count)), 0
    while True:
        with _unreadable(path):
            table = next(pieces, None)
        if table is None:
            break
        missing = [name for name in COLUMNS if name not in table.column_names]
        if missing:
            raise InvalidInput(f"{path.name} lacks {', '.join(missing)}; {SHAPE}. It has {', '.join(table.column_names)}")
        part = slice(filled, filled + table.num_rows)
        symbol[part] = _symbols(table["symbol"], names)
        seconds[part] = _seconds(table["timestamp"], path)
        for row, name in enumerate(_NUMBERS):
            values[row, part] = _floats(table[name])
        filled += table.num_rows
    if not filled:
        raise InvalidInput(f"{path.name} has no rows; {SHAPE}")
    ordered = sorted(names)
    rank = np.array([ordered.index(name) for name in names], dtype=np.int32)
    return Rows(ordered, rank[symbol], seconds, values)


@contextmanager
def _unreadable(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as fault:
        raise InvalidInput(f"{path.name} cannot be read: {fault}") from fault


def _pieces(path: Path) -> tuple[int, Iterator[pa.Table]]:
    """How many rows there are, and the rows."""
    if path.suffix == ".parquet":
        from pyarrow import parquet

        # Not parquet.read_table: it loads pandas, which takes a second and 60 MB.
        file = parquet.ParquetFile(path, read_dictionary=["symbol"])
        found = [name for name in COLUMNS if name in set(file.schema_arrow.names)]
        groups = range(file.num_row_groups)
        return file.metadata.num_rows, (file.read_row_group(group, columns=found, use_threads=False) for group in groups)
    if path.name.endswith((".csv", ".csv.gz")):
        import pyarrow as pa
        from pyarrow import csv

        # Text first: one bad cell must cost its row, not the file.
        types = dict.fromkeys(COLUMNS, pa.string())
        table = csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=types))
        return table.num_rows, iter([table])
    raise InvalidInput(f"{path.name} is neither .parquet nor .csv; convert it to one of them: {SHAPE}")


def _symbols(column: pa.ChunkedArray, names: dict[str, int]) -> npt.NDArray[np.int32]:
    """The number of each row's symbol; new names are added to `names`."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    coded = column.unify_dictionaries().combine_chunks()
    found = ["" if name is None else str(name).strip().upper() for name in coded.dictionary.to_pylist()] + [""]
    number = np.array([names.setdefault(name, len(names)) for name in found], dtype=np.int32)
    codes: npt.NDArray[np.int32] = number[_numbers(coded.indices, -1, np.int32)]
    return codes


def _numbers(column: pa.Array | pa.ChunkedArray, missing: float, kind: type[np.generic]) -> npt.NDArray[Any]:
    """A column of numbers, with `missing` where there is none."""
    numbers, filled = np.empty(len(column), dtype=kind), 0
    for chunk in column.chunks if hasattr(column, "chunks") else [column]:
        part = slice(filled, filled + len(chunk))
        # pyarrow's own to_numpy would load pandas; few files have gaps.
        numbers[part] = chunk.fill_null(missing).to_numpy() if chunk.null_count else np.from_dlpack(chunk)
        filled += len(chunk)
    return numbers


def _floats(column: pa.ChunkedArray) -> Floats:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        text = pc.utf8_trim_whitespace(column)
        numeric = pc.match_substring_regex(text, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
        column = pc.if_else(numeric, text, None)
    try:
        return _numbers(column.cast(pa.float64()), np.nan, np.float64)
    except pa.ArrowException as fault:
        raise InvalidInput(f"a price or volume column is of type {column.type}, not numbers: {fault}") from fault


def _seconds(column: pa.ChunkedArray, path: Path) -> Seconds:
    """Seconds since 1970 UTC."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        whole = _numbers(column.cast(pa.timestamp("us")).cast(pa.int64()), NO_TIME, np.int64)
        return np.where(whole == NO_TIME, NO_TIME, np.floor_divide(whole, 1_000_000))
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise InvalidInput(f"{path.name}: the column timestamp is {kind}; give times such as 2024-01-02T14:30:00Z or dates")
    return np.array([_parse_time(text) for text in column.to_pylist()], dtype=np.int64)


def _parse_time(text: str | None) -> int:
    try:
        moment = datetime.fromisoformat((text or "").strip())
    except ValueError:
        return NO_TIME
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
