"""Files that a reader sees whole or not at all, under names that no symbol can lead astray."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from urllib.parse import quote, unquote

from app.config import is_symbol
from app.domain.errors import InvalidInput


def file_name(symbol: str) -> str:
    """One path segment for a symbol: BTC/USD becomes BTC%2FUSD. Raises InvalidInput for what is no symbol."""
    if not is_symbol(symbol):
        raise InvalidInput(f"{symbol!r:.40} is not a symbol")
    return quote(symbol, safe="")


def symbol_of(name: str) -> str | None:
    """The symbol that `file_name` turned into `name`, or None."""
    symbol = unquote(name)
    return symbol if is_symbol(symbol) and quote(symbol, safe="") == name else None


def write_synced(path: Path, content: bytes) -> None:
    """Write a new file and wait until it is on the disk."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Wait until the names in a directory are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` in the place of `path` in one step: readers see the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=path.parent) as workplace:
        fresh = Path(workplace) / path.name
        write_synced(fresh, content)
        fresh.replace(path)
    sync_directory(path.parent)
