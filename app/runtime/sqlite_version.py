"""Which SQLite may be trusted with a database that several processes write to."""

from __future__ import annotations

import sqlite3

# SQLite 3.7.0 to 3.51.2 can corrupt a database in WAL mode when a checkpoint resets the log under another writer.
SAFE_SQLITE = (3, 51, 3)


def is_safe() -> bool:
    """Whether this process's SQLite has the mend."""
    return sqlite3.sqlite_version_info >= SAFE_SQLITE
