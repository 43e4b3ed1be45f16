"""Where the time of a piece of work goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter


@dataclass(slots=True)
class Stopwatch:
    """Seconds per stage, and in all since it was made."""

    seconds: dict[str, float] = field(default_factory=dict)
    _started: float = field(default_factory=perf_counter)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the body's time under `name`."""
        started = perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + perf_counter() - started, 6)

    def total(self) -> float:
        """Seconds since the watch was made, also noted as `total`."""
        self.seconds["total"] = round(perf_counter() - self._started, 6)
        return self.seconds["total"]
