"""A strategy written as a plain class that is told one bar after the other.

    class Dip:
        \"\"\"Buys after three falling closes.\"\"\"
        name = "dip"
        parameters = (Parameter(name="falls", default=3, low=1, high=20, doc="falling closes in a row"),)

        def __init__(self, falls): ...
        def on_bar(self, bar, position): return 1.0 if ... else 0.0
        @staticmethod
        def memory(values): return values["falls"] + 1

One instance sees the bars of one symbol, oldest first, and keeps what it needs. It answers with a score (see
`app.strategies.strategy`), or None while nothing can be said. Live it is made anew each time and sees the last `memory` bars
only; so its answer must follow from those (`app.strategies.laws` tells).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from app.domain.bar import Floats, Seconds
from app.domain.errors import InvalidInput
from app.domain.exits import ExitPolicy
from app.domain.panel import PRICES, Panel
from app.strategies.columns import VOTE, sound
from app.strategies.strategy import Columns, Parameter, Values


class Bar(NamedTuple):
    """One complete bar. timestamp: its start, seconds since 1970 UTC. Prices in currency, volume in units."""

    timestamp: int
    open: float
    high: float
    low: float
    close: float
    volume: float


_CHUNK = 512  # bars turned into Python numbers at a time: these then are still in the cache when they are looked at
_bar = partial(tuple.__new__, Bar)  # as Bar._make, without a call of Python


class OnBar(Protocol):
    """An instance of a user's class."""

    def on_bar(self, bar: Bar, position: float, /) -> float | None:
        """The score after `bar`. position: 1.0 while its own scores ask for a holding, else 0.0; fills do not matter."""
        ...


class ClassStrategy:
    """The `Strategy` made of such a class. Its column is the score itself."""

    def __init__(self, made: Callable[..., OnBar]) -> None:
        missing = [name for name in ("name", "on_bar", "memory") if not hasattr(made, name)]
        if missing:
            raise InvalidInput(f"{getattr(made, '__name__', made)}: the class lacks {', '.join(missing)}")
        described: Any = made
        self._made = made
        self._memory: Callable[[Values], int] = described.memory
        self._threshold = float(getattr(described, "threshold", VOTE))
        self.name: str = described.name
        self.doc: str = (described.__doc__ or f"{self.name}.").strip().splitlines()[0]
        self.parameters: tuple[Parameter, ...] = tuple(getattr(described, "parameters", ()))
        self.exits: ExitPolicy = getattr(described, "exits", ExitPolicy())

    def threshold(self, values: Values) -> float:  # noqa: ARG002
        """That of the class, half a vote unless it says otherwise."""
        return self._threshold

    def memory(self, values: Values) -> int:
        """As the class declares it."""
        return int(self._memory(values))

    def columns(self, panel: Panel, values: Values) -> dict[str, Floats]:
        """score: what the class answered; NaN where it said nothing and where there is no bar."""
        said = np.full(panel.close.shape, np.nan)
        there = sound(panel)
        for row in range(len(panel.symbols)):
            kept = there[row]
            arrays = (panel.timestamp, *(getattr(panel, name)[row] for name in PRICES))
            said[row, kept] = self._run([array[kept] for array in arrays], values)
        return {"score": said}

    def score(self, columns: Columns, values: Values) -> Floats:  # noqa: ARG002
        """The column."""
        return columns["score"]

    def _run(self, arrays: Sequence[Seconds | Floats], values: Values) -> Floats:
        on_bar, threshold, position = self._made(**values).on_bar, self._threshold, 0.0
        said = np.empty(len(arrays[0]))
        for start in range(0, len(said), _CHUNK):
            part: list[float | None] = []  # None becomes NaN
            for bar in map(_bar, zip(*(array[start : start + _CHUNK].tolist() for array in arrays), strict=True)):
                score = on_bar(bar, position)
                part.append(score)
                if score:
                    if score >= threshold:
                        position = 1.0
                    elif score <= -threshold:
                        position = 0.0
            said[start : start + _CHUNK] = part
        return said


def class_strategy(made: Callable[..., OnBar]) -> ClassStrategy:
    """The strategy a plain class stands for. Raises InvalidInput naming what the class lacks."""
    return ClassStrategy(made)
