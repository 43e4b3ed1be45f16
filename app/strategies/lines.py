"""Strategies that are the cross of two lines, and say so: a sweep then computes each line once for all pairs it is part of."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple, Protocol, runtime_checkable

from app.domain.bar import Floats
from app.strategies.columns import Bars
from app.strategies.strategy import Strategy, Values


class Line(NamedTuple):
    """One column by itself. key: what it is, with its parameters; lines with one key are one column."""

    key: tuple[Hashable, ...]
    compute: Callable[[Bars], Floats]


@runtime_checkable
class Crossing(Strategy, Protocol):
    """A strategy whose score is `app.strategies.columns.crosses` of two lines and nothing else."""

    def lines(self, values: Values) -> tuple[Line, Line]:
        """The first line, bought where it gets above the second, and the second."""
        ...
