"""What a strategy is: columns out of bars, and a score out of columns. Pure and causal; risk and orders are not its business.

A score lies in [-1, 1]. At or above the strategy's threshold it asks for a holding, at or below minus the threshold it asks to
leave it, between them it asks for nothing (decision 11; the dead zone is symmetric). NaN: nothing can be said yet. Whether,
how much and at what price is traded is decided by `app.engine.decide` alone, live and in every backtest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from app.domain.bar import Floats
from app.domain.errors import InvalidInput
from app.domain.exits import ExitPolicy
from app.domain.panel import Panel

Values = Mapping[str, float]
Columns = Mapping[str, Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A number that a strategy may be given. default, low, high: inclusive bounds, whole numbers for an `int` parameter.

    doc: what it is, with its unit. below: the parameter it must be less than, where there is one.
    """

    name: str
    default: float
    low: float
    high: float
    doc: str
    below: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers are allowed: those of a default that is one."""
        return isinstance(self.default, int)


class Strategy(Protocol):
    """A strategy of the catalog. Everything is a function of its arguments: no state, no clock, no randomness.

    name: how people name it (snake case). doc: one line on what it does. parameters: in the order people see them.
    exits: how its holdings are left, besides its own score.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def doc(self) -> str: ...  # noqa: D102
    @property
    def parameters(self) -> tuple[Parameter, ...]: ...  # noqa: D102
    @property
    def exits(self) -> ExitPolicy: ...  # noqa: D102

    def threshold(self, values: Values) -> float:
        """The score from which it acts, above 0 to 1."""
        ...

    def memory(self, values: Values) -> int:
        """How many bars the newest score depends on: those of the last `memory` bars give it to the last bit."""
        ...

    def columns(self, panel: Panel, values: Values) -> dict[str, Floats]:
        """Causal columns by name, each of shape (n_symbols, n_bars): column t uses bars up to t only. Votes of members, and
        whatever a person would want to see beside the chart."""
        ...

    def score(self, columns: Columns, values: Values) -> Floats:
        """The row decision: shape (n_symbols, n_bars), each from its own row of columns (and those of the other symbols at
        the same bar, for a strategy that ranks)."""
        ...


def evaluated(strategy: Strategy, panel: Panel, values: Values) -> tuple[dict[str, Floats], Floats]:
    """Columns and score of every bar. Raises InvalidInput for a strategy that answers with other shapes than it must, or with
    a score beyond -1..1."""
    columns = strategy.columns(panel, values)
    for name, column in columns.items():
        if np.shape(column) != panel.close.shape:
            raise InvalidInput(f"{strategy.name}: column {name} has shape {np.shape(column)}, not {panel.close.shape}")
    score = strategy.score(columns, values)
    if np.shape(score) != panel.close.shape:
        raise InvalidInput(f"{strategy.name}: the score has shape {np.shape(score)}, not {panel.close.shape}")
    if (np.abs(score) > 1.0).any():
        raise InvalidInput(f"{strategy.name}: a score of {score[np.abs(score) > 1.0][0]} is beyond -1..1")
    return columns, score


def checked(strategy: Strategy, given: Values) -> dict[str, float]:
    """Every parameter of `strategy`, those not given at their defaults. Raises InvalidInput naming each fault and its mend."""
    known = {parameter.name: parameter for parameter in strategy.parameters}
    faults = [
        f"{name}: {strategy.name} has no such parameter; it has {', '.join(known) or 'none'}"
        for name in given
        if name not in known
    ]
    values: dict[str, float] = {}
    for name, parameter in known.items():
        value = given.get(name, parameter.default)
        if not (parameter.low <= value <= parameter.high):  # NaN lands here too
            faults.append(f"{name}: {value} must lie between {parameter.low} and {parameter.high} ({parameter.doc})")
        elif parameter.is_whole and value != int(value):
            faults.append(f"{name}: {value} must be a whole number ({parameter.doc})")
        else:
            values[name] = int(value) if parameter.is_whole else float(value)
    for name, parameter in known.items():
        other = parameter.below
        if other is not None and name in values and other in values and not values[name] < values[other]:
            faults.append(f"{name}: {values[name]} must be less than {other}, which is {values[other]}")
    if faults:
        raise InvalidInput("; ".join(faults), faults=faults)
    return values
