"""Passwords at rest: argon2id, slow on purpose."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.domain.errors import Busy

_NO_PASSWORD = "no account has this password"  # noqa: S105 - nothing is stored with its hash
_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Passwords:
    """Hashes and compares. The defaults take 64 MiB and 0.15 s of one core: see docs/security.md.

    At most two at a time: whoever floods the login must not take the memory and the cores that trading needs."""

    rounds: int = 2
    memory_kib: int = 65_536
    _places: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(2))

    def hash(self, password: str) -> str:
        """What is stored of it. Busy: too many others are at it."""
        with _Place(self._places):
            return self._hasher.hash(password)

    def fits(self, stored: str | None, password: str) -> bool:
        """Whether it is the password of this hash; of None never, and that takes as long. Busy: too many others are at it."""
        with _Place(self._places):
            try:
                return self._hasher.verify(self._dummy if stored is None else stored, password) and stored is not None
            except (VerificationError, InvalidHashError):
                return False

    @cached_property
    def _hasher(self) -> PasswordHasher:
        return PasswordHasher(time_cost=self.rounds, memory_cost=self.memory_kib, parallelism=1)

    @cached_property
    def _dummy(self) -> str:
        return self._hasher.hash(_NO_PASSWORD)


class _Place:
    """One of the few places for hashing."""

    def __init__(self, places: threading.BoundedSemaphore) -> None:
        self._places = places

    def __enter__(self) -> None:
        if not self._places.acquire(timeout=_PATIENCE_SECONDS):
            raise Busy("too many logins at once; try again in a few seconds", retry_after_seconds=5)

    def __exit__(self, *_: object) -> None:
        self._places.release()
