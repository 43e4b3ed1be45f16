"""Why each symbol was or was not traded, in words and numbers a person can check."""

from __future__ import annotations

from decimal import Decimal

from app.domain.forecast import Forecast, NoForecast, Score
from app.domain.order import Order, OrderClass, ValidatedOrder
from app.domain.reason import Reason
from app.engine.case import Case
from app.engine.decision import LegMove, SymbolRecord
from app.risk.checks import Refusal
from app.risk.sizing import BOUNDS


def explain(
    case: Case, orders: tuple[ValidatedOrder, ...], refusals: dict[str, Refusal], moves: tuple[LegMove, ...]
) -> tuple[SymbolRecord, ...]:
    """One record per symbol of the view, in its order."""
    sent = {one.order.symbol: one.order for one in orders if one.order.order_class is not OrderClass.OCO}
    moved = {move.symbol: move.stop_price for move in moves}
    return tuple(
        _record(case, i, sent.get(symbol), refusals.get(symbol), moved.get(symbol))
        for i, symbol in enumerate(case.view.symbols)
    )


def _record(case: Case, i: int, order: Order | None, refusal: Refusal | None, moved_to: Decimal | None) -> SymbolRecord:
    symbol, outcome = case.view.symbols[i], case.outcome
    forecast = case.view.forecasts.get(symbol)
    position = case.book.positions.get(symbol)
    sized = outcome.bound[i] >= 0
    return SymbolRecord(
        symbol=symbol,
        reason=Reason(int(outcome.reason[i])) if refusal is None else Reason.EXACT_CHECK,
        price=float(case.view.price[i]),
        expected_return=float(case.market.expected_return[i]),
        confidence=float(case.market.confidence[i]),
        volatility=float(case.view.volatility[i]),
        members=forecast.members if isinstance(forecast, Forecast) else (),
        held_quantity=position.quantity if position else Decimal(0),
        side=order.side if order else None,
        quantity=order.quantity if order else None,
        sizing={name: float(units) for name, units in zip(BOUNDS, outcome.bounds[i], strict=True)} if sized else {},
        sizing_bound=BOUNDS[int(outcome.bound[i])] if sized else None,
        detail=_detail(case, i, refusal) if moved_to is None else f"the stop-loss moves up to {moved_to}",
        votes=forecast.votes if isinstance(forecast, Score) else {},
    )


def _detail(case: Case, i: int, refusal: Refusal | None) -> str:
    if refusal is not None:
        return f"{refusal.rule}: {refusal.detail}"
    if case.outcome.replaces[i] >= 0:
        return f"replaces {case.view.symbols[int(case.outcome.replaces[i])]}"
    forecast = case.view.forecasts.get(case.view.symbols[i])
    if case.outcome.reason[i] == Reason.NO_FORECAST and isinstance(forecast, NoForecast):
        return f"{forecast.code}: {forecast.detail}"
    if isinstance(forecast, Score):
        return f"{forecast.source}: " + ", ".join(f"{name} {value:.6g}" for name, value in forecast.votes.items())
    return ""
