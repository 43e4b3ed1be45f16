"""Small worlds to decide about: a market, a book and rules, built by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np

from app.domain.forecast import Forecast, NoForecast
from app.domain.instrument import Instrument
from app.domain.order import Purpose, Side
from app.domain.portfolio import Position
from app.domain.reason import Reason
from app.domain.trading_state import RiskState, TradingState
from app.engine.decide import decide
from app.engine.decision import Book, Context, Decision, MarketView, OpenOrder, SymbolRecord
from app.risk.limits import Policy, RiskLimits

NOW = datetime(2024, 3, 5, 15, 0, tzinfo=UTC)
CAPITAL = Decimal(100_000)
LIMITS, POLICY = RiskLimits(), Policy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """One symbol of a world. expected: what the forecast promises from `price` on; None: no forecast at all."""

    price: float = 100.0
    expected: float | None = 0.0
    confidence: float = 0.9
    age: float = 1.0
    volatility: float = 0.02
    tradable: float = 1.0
    last_close: float = float("nan")
    usual_volatility: float = float("nan")
    instrument: Instrument | None = field(default_factory=lambda: Instrument(symbol="?"))


def forecast(symbol: str, quote: Quote) -> Forecast | NoForecast:
    if quote.expected is None:
        return NoForecast(symbol=symbol, code="model_missing", detail="there is none")
    last_close = quote.price if quote.price > 0 else 100.0
    return Forecast(
        symbol=symbol,
        daily_return=quote.expected,
        confidence=quote.confidence,
        members=(quote.expected,) * 6,
        last_close=last_close,
        last_close_at=NOW - timedelta(hours=18),
        model="test",
    )


def view_of(quotes: Mapping[str, Quote], at: datetime = NOW) -> MarketView:
    rows = list(quotes.values())
    return MarketView(
        decided_at=at,
        symbols=tuple(quotes),
        price=np.array([q.price for q in rows], dtype=np.float64),
        age_seconds=np.array([q.age for q in rows], dtype=np.float64),
        volatility=np.array([q.volatility for q in rows], dtype=np.float64),
        tradable=np.array([q.tradable for q in rows], dtype=np.float64),
        forecasts={s: forecast(s, q) for s, q in quotes.items()},
        last_close=np.array([q.last_close for q in rows], dtype=np.float64),
        usual_volatility=np.array([q.usual_volatility for q in rows], dtype=np.float64),
    )


def context_of(quotes: Mapping[str, Quote], cycle_id: str = "cycle-1") -> Context:
    return Context(
        account_id="account",
        strategy="ensemble",
        cycle_id=cycle_id,
        instruments={s: replace(q.instrument, symbol=s) for s, q in quotes.items() if q.instrument is not None},
    )


def risk_of(state: TradingState = TradingState.ACTIVE, **changes: object) -> RiskState:
    base = RiskState(
        trading_state=state,
        cause="started" if state is TradingState.ACTIVE else "operator",
        actor="system",
        since=NOW - timedelta(days=2),
        baseline_equity=CAPITAL,
        baseline_session="2024-03-05",
        high_water_equity=CAPITAL,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def held(symbol: str, quantity: object, entry: object) -> Position:
    return Position(symbol=symbol, quantity=Decimal(str(quantity)), average_entry_price=Decimal(str(entry)))


def open_order(symbol: str, *, purpose: Purpose = Purpose.ENTRY, **changes: object) -> OpenOrder:
    base = OpenOrder(
        client_order_id=f"{symbol}-{purpose}",
        symbol=symbol,
        side=Side.BUY if purpose is Purpose.ENTRY else Side.SELL,
        purpose=purpose,
        quantity=Decimal(10),
        price=Decimal(100) if purpose is Purpose.ENTRY else None,
        stale=purpose is Purpose.ENTRY,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def book_of(
    positions: Sequence[Position] = (),
    *,
    quotes: Mapping[str, Quote] | None = None,
    cash: object = CAPITAL,
    equity: object = None,
    **changes: object,
) -> Book:
    """equity: as marked from `quotes` unless given."""
    exact_cash = Decimal(str(cash))
    marked = exact_cash + sum(
        (p.quantity * Decimal(repr(quotes[p.symbol].price)) for p in positions if quotes and p.symbol in quotes), Decimal(0)
    )
    base = Book(
        session="2024-03-05",
        cash=exact_cash,
        equity=marked if equity is None else Decimal(str(equity)),
        previous_close_equity=CAPITAL,
        buying_power=exact_cash,
        positions={p.symbol: p for p in positions},
        open_orders=(),
        risk=risk_of(),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def decided(
    quotes: Mapping[str, Quote], book: Book, *, limits: RiskLimits = LIMITS, policy: Policy = POLICY, at: datetime = NOW
) -> Decision:
    return decide(view_of(quotes, at), book, context_of(quotes), limits, policy)


def record_of(decision: Decision, symbol: str) -> SymbolRecord:
    return next(r for r in decision.records if r.symbol == symbol)


def reasons(decision: Decision) -> dict[str, Reason]:
    return {r.symbol: r.reason for r in decision.records}


def orders_by_symbol(decision: Decision) -> dict[str, Side]:
    return {v.order.symbol: v.order.side for v in decision.orders}
