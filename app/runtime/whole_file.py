"""Files that a reader sees whole or not at all, and that outlast a power cut once written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

DRAFT_PREFIX = ".writing-"


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
    with tempfile.TemporaryDirectory(prefix=DRAFT_PREFIX, dir=path.parent) as workplace:
        fresh = Path(workplace) / path.name
        write_synced(fresh, content)
        fresh.replace(path)
    sync_directory(path.parent)
