"""Rows of a CSV file that comes beside the bars."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from app.domain.errors import InvalidInput


def read_rows(path: Path, columns: Sequence[str], what: str) -> list[tuple[str, dict[str, str]]]:
    """Each row with where it stands, for messages about it. Raises InvalidInput for a file of another shape.

    columns: those that must be there. what: what the rows are, in the plural.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise InvalidInput(f"{path.name} cannot be read as {what}: {fault}") from fault
    missing = [name for name in columns if rows and name not in rows[0]]
    if missing:
        raise InvalidInput(f"{path.name} lacks {', '.join(missing)}; {what} need the columns {', '.join(columns)}")
    return [(f"{path.name}, line {line}", row) for line, row in enumerate(rows, 2)]
