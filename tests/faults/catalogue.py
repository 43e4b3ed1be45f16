"""The fault catalogue and the tests that prove its rows.

A test proves a row when it bears the id, by its name (`test_B04_...`, `test_c03_c04_...`) or by `@pytest.mark.row("B04")`.
docs/fault-catalogue.md lists all rows; its last column is written by

    python -m tests.faults.catalogue
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "fault-catalogue.md"
OPEN = "open: "
_LINE = re.compile(r"^\| ([A-J]\d\d)( ★)? \| (.+) \| (.+) \| (.*) \|$")
_ID = re.compile(r"[A-J]\d\d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the document. proven: the files with tests of it, or `open: ` and why there is none."""

    name: str
    starred: bool
    fault: str
    expected: str
    proven: str

    @property
    def is_open(self) -> bool:
        return self.proven.startswith(OPEN)

    def __str__(self) -> str:
        return f"| {self.name}{' ★' * self.starred} | {self.fault} | {self.expected} | {self.proven} |"


def rows(document: str) -> list[Row]:
    """The rows as written."""
    found = (_LINE.match(line) for line in document.splitlines())
    return [
        Row(name=m[1], starred=bool(m[2]), fault=m[3].strip(), expected=m[4].strip(), proven=m[5].strip()) for m in found if m
    ]


def proofs(directory: Path = ROOT / "tests") -> dict[str, Counter[str]]:
    """For each id the files that have tests bearing it, with how many."""
    found: dict[str, Counter[str]] = {}
    for path in sorted(directory.rglob("test_*.py")):
        for name in _ids_in(ast.parse(path.read_text())):
            found.setdefault(name, Counter())[path.relative_to(ROOT).as_posix()] += 1
    return found


def rewritten(document: str, found: dict[str, Counter[str]]) -> str:
    """The document with the last column as it should be: an open row that has a test by now is no longer open."""
    by_name = {row.name: row for row in rows(document)}
    lines = []
    for line in document.splitlines():
        match = _LINE.match(line)
        row = by_name[match[1]] if match else None
        lines.append(line if row is None else str(replace(row, proven=_proven(row, found))))
    return "\n".join(lines) + "\n"


def _proven(row: Row, found: dict[str, Counter[str]]) -> str:
    files = found.get(row.name)
    if not files:
        return row.proven if row.is_open else f"{OPEN}no test bears its id"
    return ", ".join(f"`{name}`" + (f" ({count})" if count > 1 else "") for name, count in sorted(files.items()))


def _ids_in(module: ast.Module) -> Iterator[str]:
    """The ids of each test function, once each."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            named = {word.upper() for word in node.name.split("_") if _ID.fullmatch(word.upper())}
            yield from sorted(named.union(*map(_marked, node.decorator_list)))


def _marked(decorator: ast.expr) -> set[str]:
    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.row":
        return {str(ast.literal_eval(argument)) for argument in decorator.args}
    return set()


if __name__ == "__main__":
    DOCUMENT.write_text(rewritten(DOCUMENT.read_text(), proofs()))
