"""The weighted ensemble of the six simple rules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.domain.bar import Floats
from app.domain.exits import ExitPolicy
from app.domain.panel import Panel
from app.strategies.day import Day
from app.strategies.momentum import Momentum
from app.strategies.price_action import PriceAction
from app.strategies.scalping import Scalping
from app.strategies.strategy import Columns, Parameter, Strategy, Values
from app.strategies.swing import Swing
from app.strategies.trend import Trend

MEMBERS: tuple[Strategy, ...] = (Trend(), Momentum(), Swing(), Scalping(), Day(), PriceAction())


def _of_member(member: Strategy, parameter: Parameter) -> Parameter:
    below = parameter.below and f"{member.name}_{parameter.below}"
    return replace(parameter, name=f"{member.name}_{parameter.name}", doc=f"{member.name}: {parameter.doc}", below=below)


class WeightedEnsemble:
    """The weighted mean of the members' votes, -1 to 1, with one threshold on both sides and nothing done between.

    A member's own parameters bear its name in front. Without any weight nothing can be said.
    """

    name = "weighted_ensemble"
    doc = "The weighted vote of trend, momentum, swing, scalping, day and price action."
    parameters = (
        Parameter(name="threshold", default=0.2, low=0.01, high=1.0, doc="share of the weights that must agree, on both sides"),
        *(Parameter(name=f"weight_{m.name}", default=1.0, low=0.0, high=1.0, doc=f"weight of {m.name}") for m in MEMBERS),
        *(_of_member(member, parameter) for member in MEMBERS for parameter in member.parameters),
    )
    exits = ExitPolicy()

    def threshold(self, values: Values) -> float:
        """A parameter."""
        return values["threshold"]

    def memory(self, values: Values) -> int:
        """The longest of the members'."""
        return max(member.memory(_own(member, values)) for member in MEMBERS)

    def columns(self, panel: Panel, values: Values) -> dict[str, Floats]:
        """The vote of each member, by its name."""
        return {member.name: _vote(member, panel, _own(member, values)) for member in MEMBERS}

    def score(self, columns: Columns, values: Values) -> Floats:
        """The weighted mean of the votes."""
        weights = {member.name: values[f"weight_{member.name}"] for member in MEMBERS}
        total = sum(weights.values())
        out: Floats = np.zeros(columns[MEMBERS[0].name].shape)
        if total <= 0.0:
            return np.full_like(out, np.nan)
        for name, weight in weights.items():
            out += weight / total * columns[name]
        return np.clip(out, -1.0, 1.0)  # shares may add up to a little more than one


def _own(member: Strategy, values: Values) -> dict[str, float]:
    return {parameter.name: values[f"{member.name}_{parameter.name}"] for parameter in member.parameters}


def _vote(member: Strategy, panel: Panel, values: Values) -> Floats:
    return member.score(member.columns(panel, values), values)
