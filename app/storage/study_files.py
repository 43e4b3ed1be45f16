"""Journals of searches: what was proposed and what it came to, in a file, or in a Redis that several machines reach."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

LOCK_GRACE_SECONDS = 10  # a process that was killed over the file's lock is waited for so long


def study_journal(place: str) -> Callable[[], Any]:
    """What opens the journal. place: a directory, or a Redis URL."""

    def in_redis() -> Any:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalRedisBackend

        return JournalStorage(JournalRedisBackend(place))

    def in_file() -> Any:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

        directory = Path(place)
        directory.mkdir(parents=True, exist_ok=True)
        path = str(directory / "studies.log")
        return JournalStorage(JournalFileBackend(path, lock_obj=JournalFileSymlinkLock(path, grace_period=LOCK_GRACE_SECONDS)))

    return in_redis if place.startswith(("redis://", "rediss://", "unix://")) else in_file
