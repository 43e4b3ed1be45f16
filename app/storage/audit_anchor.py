"""The newest hashes of the audit log, kept in a file outside the database: a log that was cut short no longer fits them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import structlog

from app.domain.audit import Head

_SLOTS = 64
_LINE = re.compile(rb"([0-9]{12}) ([0-9a-f]{64})\n")
_LINE_BYTES = 78

_log = structlog.get_logger()


class Anchor:
    """One file of 64 lines, each the number and hash of an event, the newest in the place of the oldest. Several processes
    write to it without waiting for each other. It is not synchronised to the disk: after a power cut it may be a little
    older than the log, which does no harm."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, head: Head, *, anew: bool = False) -> None:
        """Keeps the head of a committed transaction. anew: forget all others, the log has told of its loss. A disk that does
        not take it is told to the log."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if anew else 0), 0o644)
            try:
                os.pwrite(descriptor, f"{head.seq:012d} {head.hash}\n".encode(), head.seq % _SLOTS * _LINE_BYTES)
            finally:
                os.close(descriptor)
        except OSError as fault:
            _log.error("audit_anchor_not_written", file=self.path.name, error=str(fault))

    def heads(self) -> list[Head]:
        """What it holds, by number; empty where there is no file."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        found = [Head(seq=int(line[1]), hash=line[2].decode()) for line in _LINE.finditer(content)]
        return sorted(found, key=lambda head: head.seq)

    def newest(self) -> Head:
        """The last place it knows; the origin where there is no file."""
        return max(self.heads(), key=lambda head: head.seq, default=Head())
