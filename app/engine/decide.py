"""The one decision of the product: what to do about every symbol, given the market, the book, the limits and the policy.

Pure: no clock, no I/O, no randomness. Live, paper, shadow and backtest call nothing else. The arithmetic is
`app.engine.rules`; around it values become arrays (`arrays`), and arrays become checked orders (`orders`) and reasons
(`explanation`).
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from app.domain.trading_state import Cause, RiskState, TradingState
from app.engine.arrays import holdings_arrays, market_arrays, money_numbers, standing_numbers
from app.engine.case import Case
from app.engine.decision import Book, Context, Decision, MarketView
from app.engine.explanation import explain
from app.engine.orders import cancels, write_orders
from app.engine.rules import apply_rules
from app.risk.breakers import Standing
from app.risk.limits import Policy, RiskLimits


def decide(view: MarketView, book: Book, context: Context, limits: RiskLimits, policy: Policy) -> Decision:
    """Orders, cancels, the next risk state and one record per symbol of `view`.

    Holdings in symbols that `view` does not list cannot be judged: they make the equity unreliable, which stops entries.
    """
    risk = _roll_session(book)
    market = market_arrays(view, context)
    outcome = apply_rules(
        view.decided_at.timestamp(),
        standing_numbers(risk),
        market,
        holdings_arrays(view.symbols, book),
        money_numbers(view, book, risk),
        limits,
        policy,
    )
    next_risk, alerts = _next_risk(risk, outcome.standing, view.decided_at)
    next_risk = next_risk if next_risk == book.risk else replace(next_risk, epoch=book.risk.epoch + 1)
    case = Case(view=view, book=book, context=context, limits=limits, market=market, outcome=outcome)
    orders, refusals = write_orders(case, next_risk.trading_state)
    return Decision(
        decided_at=view.decided_at,
        cancels=cancels(book, orders, next_risk.trading_state),
        orders=orders,
        records=explain(case, orders, refusals),
        risk=next_risk,
        alerts=alerts,
    )


def _roll_session(book: Book) -> RiskState:
    """Take the daily-loss baseline once per session; a reading that cannot be one keeps the old baseline."""
    if book.session == book.risk.baseline_session or not _is_amount(book.previous_close_equity):
        return book.risk
    return replace(book.risk, baseline_session=book.session, baseline_equity=book.previous_close_equity)


def _is_amount(money: Decimal) -> bool:
    return money.is_finite() and money > 0


def _next_risk(risk: RiskState, standing: Standing, now: datetime) -> tuple[RiskState, tuple[str, ...]]:
    """The risk state after the breakers; only what changed is rewritten, so that exact amounts stay exact."""
    changed = standing.state != int(risk.trading_state) or Cause(standing.cause).code != _known_cause(risk.cause)
    alerts: tuple[str, ...] = ()
    following = replace(
        risk,
        suspected_at=_instant(standing.suspected_at),
        high_water_equity=(
            risk.high_water_equity
            if standing.high_water == float(risk.high_water_equity)
            else Decimal(repr(float(standing.high_water)))
        ),
    )
    if changed:
        state, cause = TradingState(standing.state), Cause(standing.cause)
        until = _instant(standing.until)
        following = replace(following, trading_state=state, cause=cause.code, actor="system", since=now, until=until)
        ends = f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""
        alerts = (f"Trading state {risk.trading_state.name} -> {state.name}{ends}: {cause.code}",)
    return following, alerts


def _known_cause(cause: str) -> str:
    return cause if cause in {c.code for c in Cause} else Cause.OPERATOR.code


def _instant(seconds: float) -> datetime | None:
    return None if math.isnan(seconds) else datetime.fromtimestamp(seconds, UTC)
