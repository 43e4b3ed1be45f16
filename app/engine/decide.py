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

from app.domain.reason import Reason
from app.domain.trading_state import STEADY, Cause, Doubt, RiskState, TradingState
from app.engine.arrays import (
    holdings_arrays,
    market_arrays,
    money_numbers,
    sleeves_arrays,
    sleeves_of,
    standing_numbers,
    venue_bits,
)
from app.engine.case import Case
from app.engine.decision import Book, Context, Decision, MarketView
from app.engine.explanation import explain
from app.engine.holdings import moves, plans
from app.engine.orders import cancels, write_orders
from app.engine.rules import Money, Outcome, apply_rules
from app.risk.limits import Policy, RiskLimits

_PLAUSIBLE = Decimal("0.25")  # how far a new baseline may be from the present equity or the old baseline


def decide(view: MarketView, book: Book, context: Context, limits: RiskLimits, policy: Policy) -> Decision:
    """Orders, cancels, the next risk state and one record per symbol of `view`.

    Holdings in symbols that `view` does not list cannot be judged: they make the equity unreliable, which stops entries.
    policy: of an account without sleeves; where `context` names sleeves each has its own.
    """
    risk, sleeves = _roll_session(book), sleeves_of(context.sleeves, context.strategy, limits, policy)
    market = market_arrays(view, context)
    money = money_numbers(view, book, risk)
    outcome = apply_rules(
        view.decided_at.timestamp(),
        standing_numbers(risk),
        market,
        holdings_arrays(view.symbols, book, sleeves),
        money,
        venue_bits(book, limits),
        limits,
        sleeves_arrays(view, sleeves),
    )
    next_risk, alerts = _next_risk(risk, outcome, view.decided_at)
    next_risk, disabled = _disable(next_risk, view, outcome)
    next_risk = next_risk if next_risk == book.risk else replace(next_risk, epoch=book.risk.epoch + 1)
    case = Case(view=view, book=book, context=context, limits=limits, sleeves=sleeves, market=market, outcome=outcome)
    orders, refusals = write_orders(case, next_risk.trading_state)
    moved = moves(case, next_risk.trading_state)
    return Decision(
        decided_at=view.decided_at,
        cancels=cancels(book, orders, next_risk.trading_state),
        orders=orders,
        records=explain(case, orders, refusals, moved),
        risk=next_risk,
        alerts=alerts + disabled,
        readings=_readings(book, money, outcome),
        moves=moved,
        plans=plans(case),
    )


def _roll_session(book: Book) -> RiskState:
    """Take the daily-loss baseline once per session, with it a suspicion ends; a reading that cannot be one keeps both."""
    risk, baseline = book.risk, book.previous_close_equity
    if book.session == risk.baseline_session or not _is_amount(baseline):
        return risk
    if not any(_is_amount(other) and abs(baseline / other - 1) <= _PLAUSIBLE for other in (book.equity, risk.baseline_equity)):
        return risk
    return replace(risk, baseline_session=book.session, baseline_equity=baseline, suspected_at=None)


def _disable(risk: RiskState, view: MarketView, outcome: Outcome) -> tuple[RiskState, tuple[str, ...]]:
    """One more entry than a day allows was asked for: no further ones until a person enables the symbol."""
    found = [s for s, reason in zip(view.symbols, outcome.reason, strict=True) if reason == Reason.ENTRIES_TODAY]
    disabled = tuple(sorted({*risk.disabled_symbols, *found}))
    if disabled == risk.disabled_symbols:
        return risk, ()
    alert = f"Too many entries in one day: {', '.join(found)} disabled until a person enables it"
    return replace(risk, disabled_symbols=disabled), (alert,)


def _readings(book: Book, money: Money, outcome: Outcome) -> dict[str, float]:
    measures = {name: float(value) for name, value in outcome.measures._asdict().items()}
    return measures | {
        "equity": money.equity,
        "baseline": money.baseline,
        "calls": float(book.health.calls),
        "errors": float(book.health.errors),
        "silent_seconds": book.health.silent_seconds,
        "clock_skew_seconds": book.health.clock_skew_seconds,
    }


def _is_amount(money: Decimal) -> bool:
    return money.is_finite() and money > 0


def _next_risk(risk: RiskState, outcome: Outcome, now: datetime) -> tuple[RiskState, tuple[str, ...]]:
    """The risk state after the breakers; only what changed is rewritten, so that exact amounts stay exact."""
    standing, doubt = outcome.standing, Doubt(outcome.measures.doubt)
    changed = standing.state != int(risk.trading_state) or Cause(standing.cause).code != _known_cause(risk.cause)
    alerts: tuple[str, ...] = ()
    following = replace(
        risk,
        suspected_at=_instant(standing.suspected_at),
        high_water_equity=(
            risk.high_water_equity if standing.high_water == float(risk.high_water_equity) else _exact(standing.high_water)
        ),
        steady_readings=int(standing.steady),
        doubted_equity=None if math.isnan(standing.doubted) else _exact(standing.doubted),
    )
    if changed:
        state, cause = TradingState(standing.state), Cause(standing.cause)
        until = _instant(standing.until)
        following = replace(following, trading_state=state, cause=cause.code, actor="system", since=now, until=until)
        ends = f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""
        why = f" ({doubt.text})" if cause is Cause.EQUITY_UNRELIABLE else ""
        alerts = (f"Trading state {risk.trading_state.name} -> {state.name}{ends}: {cause.code}{why}",)
    elif doubt and standing.steady < STEADY == risk.steady_readings:
        alerts = (f"A reading of the account is not believed: {doubt.text}",)
    return following, alerts


def _known_cause(cause: str) -> str:
    return cause if cause in {c.code for c in Cause} else Cause.OPERATOR.code


def _exact(amount: float) -> Decimal:
    return Decimal(repr(float(amount)))


def _instant(seconds: float) -> datetime | None:
    return None if math.isnan(seconds) else datetime.fromtimestamp(seconds, UTC)
