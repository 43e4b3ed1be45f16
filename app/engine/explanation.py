"""Why each symbol was or was not traded, in words and numbers a person can check."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal

from app.domain.bar import Floats
from app.domain.forecast import Forecast, NoForecast, Score, said_by
from app.domain.order import Order, OrderClass, Purpose, ValidatedOrder
from app.domain.reason import Reason
from app.engine.arrays import expected_return_now
from app.engine.case import Case
from app.engine.decision import LegMove, SymbolRecord
from app.risk.checks import Refusal
from app.risk.sizing import BOUNDS


def explain(
    case: Case, orders: tuple[ValidatedOrder, ...], refusals: dict[str, Refusal], moves: tuple[LegMove, ...]
) -> tuple[SymbolRecord, ...]:
    """One record per symbol of the view, in its order."""
    owned = {*case.book.positions, *(o.symbol for o in case.book.open_orders if o.purpose is Purpose.ENTRY)}
    sent = {one.order.symbol: one.order for one in orders if one.order.order_class is not OrderClass.OCO}
    moved = {move.symbol: move.stop_price for move in moves}
    return tuple(
        _record(case, i, sent.get(symbol), refusals.get(symbol), moved.get(symbol), is_owned=symbol in owned)
        for i, symbol in enumerate(case.view.symbols)
    )


def _record(
    case: Case, i: int, order: Order | None, refusal: Refusal | None, moved_to: Decimal | None, *, is_owned: bool
) -> SymbolRecord:
    symbol, outcome = case.view.symbols[i], case.outcome
    sleeve = case.sleeve(i)
    forecast = said_by(case.view.forecasts.get(symbol), sleeve.strategy)
    position = case.book.positions.get(symbol)
    sized = outcome.bound[i] >= 0
    return SymbolRecord(
        symbol=symbol,
        reason=Reason(int(outcome.reason[i])) if refusal is None else Reason.EXACT_CHECK,
        price=float(case.view.price[i]),
        expected_return=float(outcome.heard.expected_return[i]),
        confidence=float(outcome.heard.confidence[i]),
        volatility=float(case.view.volatility[i]),
        members=forecast.members if isinstance(forecast, Forecast) else (),
        held_quantity=position.quantity if position else Decimal(0),
        side=order.side if order else None,
        quantity=order.quantity if order else None,
        sizing=_sizing(outcome.bounds[i]) if sized else {},
        sizing_bound=BOUNDS[int(outcome.bound[i])] if sized else None,
        detail=_detail(case, i, refusal, is_owned) if moved_to is None else f"the stop-loss moves up to {moved_to}",
        votes=forecast.votes if isinstance(forecast, Score) else {},
        strategy=sleeve.strategy if len(case.sleeves) > 1 else "",
    )


def _sizing(bounds: Floats) -> dict[str, float]:
    """The bounds by name; a budget without bound is none."""
    return {name: float(units) for name, units in zip(BOUNDS, bounds, strict=True) if units != math.inf}


def _detail(case: Case, i: int, refusal: Refusal | None, is_owned: bool) -> str:
    said = _why(case, i, refusal)
    if len(case.sleeves) == 1:
        return said
    name = case.sleeve(i).strategy
    told = said if said.startswith(name) else f"{name}: {said}".strip().removesuffix(":")
    return "; ".join([told, *_others(case, i, is_owned)])


def _others(case: Case, i: int, is_owned: bool) -> Iterator[str]:
    """What the other sleeves say of a symbol; it changes nothing where the symbol is owned."""
    symbol = case.view.symbols[i]
    for sleeve in case.sleeves:
        answer = said_by(case.view.forecasts.get(symbol), sleeve.strategy)
        if sleeve is case.sleeve(i) or not isinstance(answer, Score | Forecast):
            continue
        number = answer.score if isinstance(answer, Score) else expected_return_now(answer, float(case.view.price[i]))
        yield f"{sleeve.strategy} {number:.6g}" + (f" ({Reason.OTHER_SLEEVE.code})" if is_owned else "")


def _why(case: Case, i: int, refusal: Refusal | None) -> str:
    if refusal is not None:
        return f"{refusal.rule}: {refusal.detail}"
    if case.outcome.replaces[i] >= 0:
        return f"replaces {case.view.symbols[int(case.outcome.replaces[i])]}"
    forecast = said_by(case.view.forecasts.get(case.view.symbols[i]), case.sleeve(i).strategy)
    if case.outcome.reason[i] == Reason.NO_FORECAST and isinstance(forecast, NoForecast):
        return f"{forecast.code}: {forecast.detail}"
    if isinstance(forecast, Score):
        return f"{forecast.source}: " + ", ".join(f"{name} {value:.6g}" for name, value in forecast.votes.items())
    return ""
