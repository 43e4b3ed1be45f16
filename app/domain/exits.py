"""How a holding is left: the policy, what is remembered of the holding, and the levels that follow (see `app.risk.exits`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from app.domain.portfolio import Position


class ExitPolicy(NamedTuple):
    """Where a holding is left. Fractions of the entry or best price, multiples of ATR or R; 0.0: off."""

    stop_loss_fraction: float = 0.05
    take_profit_fraction: float = 0.10
    atr_stop_multiple: float = 0.0
    break_even_at_r: float = 0.0
    partial_at_r: float = 0.0
    partial_fraction: float = 0.0
    trailing_fraction: float = 0.0
    trailing_atr_multiple: float = 0.0


class Progress(NamedTuple):
    """What is remembered of a holding; 0.0 where there is nothing to remember. initial_stop: that of the ATR at the first
    reading that knew one. best: the highest believed price since the entry. stop: the highest that break-even and trailing
    reached. partial_taken: 1.0 once it filled."""

    initial_stop: float = 0.0
    best: float = 0.0
    stop: float = 0.0
    partial_taken: float = 0.0


class Levels(NamedTuple):
    """Prices at which a holding is left, NaN for none."""

    stop: float
    target: float
    partial: float


FRESH = Progress()


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionPlan:
    """How one holding is going to be left. opened_at: of the holding it is made for. stop, target, partial: prices that are
    executable as they are (on the tick, a stop or below counts as reached, a target or above), None for none."""

    symbol: str
    opened_at: datetime | None
    progress: Progress
    stop: Decimal | None = None
    target: Decimal | None = None
    partial: Decimal | None = None


def rebased(progress: Progress, ratio: float) -> Progress:
    """The same memory after a split: `ratio` new units for each old one."""
    return Progress(progress.initial_stop / ratio, progress.best / ratio, progress.stop / ratio, progress.partial_taken)


def standing(plans: Mapping[str, PositionPlan], held: Mapping[str, Position]) -> dict[str, PositionPlan]:
    """The plans whose holding is still the one they were made for: neither gone nor opened anew since."""
    return {symbol: plan for symbol, plan in plans.items() if symbol in held and _is_same(plan, held[symbol])}


def partial_taken(plan: PositionPlan) -> PositionPlan:
    """The plan once its partial exit has begun to fill."""
    return replace(plan, partial=None, progress=plan.progress._replace(partial_taken=1.0))


def _is_same(plan: PositionPlan, held: Position) -> bool:
    return plan.opened_at is None or held.opened_at is None or held.opened_at <= plan.opened_at
