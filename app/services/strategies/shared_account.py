"""Several strategies in one account, written as text: `sma_cross(fast=5, slow=20):0.5 rsi:0.3`, each with its budget."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from app.domain.errors import InvalidInput
from app.domain.exits import ExitPolicy
from app.domain.forecast import Forecaster
from app.engine.decision import Sleeve
from app.engine.strategy_rules import strategy_policy
from app.risk.limits import Policy, RiskLimits
from app.services.strategies.strategy_service import Chosen, StrategyService
from app.strategies.catalog import MODEL_DRIVEN
from app.strategies.sleeve_forecaster import SleeveForecaster
from app.strategies.strategy import Values

_PART = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\(([^()]*)\))?\s*:\s*([^\s,:()]+)\s*,?")
_HOW = "write it like sma_cross(fast=5, slow=20):0.5 rsi:0.3, each with its share of the equity"
_SLACK = 1e-9  # a sum of shares such as 0.7 + 0.2 + 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedAccount:
    """The strategies of an account in the order in which they are asked, and the share of the equity of each."""

    parts: tuple[tuple[Chosen, float], ...]

    @property
    def name(self) -> str:
        """The text that stands for it, every parameter told; a verdict on it is kept under this name."""
        return " ".join(f"{one.name}({_told(one.values)}):{budget:.12g}" for one, budget in self.parts)

    @property
    def values(self) -> Mapping[str, float]:
        """None of its own: those of the strategies are part of the name."""
        return {}

    @property
    def memory(self) -> int:
        """How many bars the longest of them needs."""
        return max(one.memory for one, _ in self.parts)

    @property
    def uses_models(self) -> bool:
        """Whether any of them asks the models for forecasts."""
        return any(one.uses_models for one, _ in self.parts)

    def forecaster(self, models: Forecaster) -> SleeveForecaster:
        """What a live cycle asks."""
        return SleeveForecaster({one.strategy.name: one.forecaster(models) for one, _ in self.parts})

    def rules(self, limits: RiskLimits, policy: Policy) -> tuple[RiskLimits, Policy]:
        """Limits with the nearest stop-loss and the furthest take-profit of them all, for a holding of which nobody knows whose
        it is; the policy as it is, because each has its own."""
        exits = [one.strategy.exits for one, _ in self.parts]
        stop, target = min(e.stop_loss_fraction for e in exits), max(e.take_profit_fraction for e in exits)
        return limits._replace(stop_loss_fraction=stop, take_profit_fraction=target), policy

    def sleeves(self, policy: Policy) -> tuple[Sleeve, ...]:
        """What the decision takes."""
        return tuple(
            Sleeve(
                strategy=one.strategy.name,
                budget_fraction=budget,
                policy=strategy_policy(one.strategy, one.values, policy),
            )
            for one, budget in self.parts
        )


def is_shared(text: str) -> bool:
    """Whether a text names budgets, and so strategies that share an account."""
    return ":" in text or "(" in text


def choose(strategies: StrategyService, text: str, given: Values) -> Chosen | SharedAccount:
    """What a text names: one strategy with the parameters given, or several that share an account.

    Raises InvalidInput as `StrategyService.choose`, and for budgets that cannot be.
    """
    if not is_shared(text):
        return strategies.choose(text, given)
    if given:
        raise InvalidInput(f"parameters of strategies that share an account stand behind their names: {_HOW}")
    parts = tuple((_chosen(strategies, name, words), _budget(name, share)) for name, words, share in _parts(text))
    names = [one.strategy.name for one, _ in parts]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInput(f"{', '.join(twice)}: a strategy can have one budget only; give it once")
    total = sum(budget for _, budget in parts)
    if total > 1.0 + _SLACK:
        raise InvalidInput(f"the budgets are {total:g} of the equity together; they may be 1 at most")
    return SharedAccount(parts=parts)


def with_exits(sleeves: tuple[Sleeve, ...], changes: Mapping[str, float]) -> tuple[Sleeve, ...]:
    """The sleeves with other exits; changes: fields of `ExitPolicy`."""

    def changed(exits: ExitPolicy) -> ExitPolicy:
        return exits._replace(**changes)

    return tuple(replace(one, policy=one.policy._replace(exits=changed(one.policy.exits))) for one in sleeves)


def _told(values: Values) -> str:
    return ", ".join(f"{name}={value:.12g}" for name, value in values.items())


def _parts(text: str) -> list[tuple[str, str, str]]:
    found, at = [], 0
    while at < len(text.rstrip()):
        part = _PART.match(text, at)
        if part is None:
            raise InvalidInput(f"not strategies with budgets: {text[at:].strip()[:60]!r}; {_HOW}", code="strategy_unknown")
        found.append((part[1], part[2] or "", part[3]))
        at = part.end()
    return found


def _chosen(strategies: StrategyService, name: str, words: str) -> Chosen:
    if name == MODEL_DRIVEN:
        raise InvalidInput(
            f"{MODEL_DRIVEN} trades with the whole account; blended_forecast and confirmed_forecast bring forecasts into a "
            "shared one",
            code="strategy_unknown",
        )
    given: dict[str, float] = {}
    for word in words.replace(",", " ").split():
        parameter, sign, value = word.partition("=")
        number = _number(value)
        if not sign or math.isnan(number):
            raise InvalidInput(f"{name}: {word} is no parameter; {_HOW}")
        given[parameter] = number
    return strategies.choose(name, given)


def _budget(name: str, share: str) -> float:
    budget = _number(share)
    if not 0.0 < budget <= 1.0:  # NaN lands here too
        raise InvalidInput(f"{name}: a budget is a share of the equity above 0 to 1, not {share}")
    return budget


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
