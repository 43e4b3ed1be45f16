"""From the values a decision is given to the arrays its rules are compiled for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from app.domain.bar import Floats
from app.domain.forecast import Forecast, Score, said_by
from app.domain.order import Purpose
from app.domain.trading_state import Cause, RiskState
from app.engine.decision import Book, Context, MarketView, Sleeve
from app.engine.rules import Holdings, Market, Money, Sleeves, Venue, rules_row
from app.risk.breakers import Standing
from app.risk.health import lasting_trouble, venue_trouble
from app.risk.limits import Policy, RiskLimits


def expected_return_now(forecast: Forecast, price: float) -> float:
    """The daily forecast seen from the present price: target / price - 1, a fraction (decision 9)."""
    return forecast.target_price / price - 1.0 if price > 0.0 else math.nan


def market_arrays(view: MarketView, context: Context) -> Market:
    """The market side; a symbol without trading rules counts as not tradable."""
    n = len(view.symbols)
    rules = [context.instruments.get(symbol) for symbol in view.symbols]
    known = np.array([1.0 if rule is not None and rule.tradable else 0.0 for rule in rules])
    return Market(
        price=view.price,
        age_seconds=view.age_seconds,
        volatility=view.volatility,
        tradable=view.tradable * known,
        step=np.array([float(rule.quantity_step) if rule else 1.0 for rule in rules]),
        minimum_notional=np.array([float(rule.minimum_notional) if rule else 1.0 for rule in rules]),
        last_close=view.last_close if view.last_close is not None else np.full(n, np.nan),
        usual_volatility=view.usual_volatility if view.usual_volatility is not None else np.full(n, np.nan),
        atr=view.atr if view.atr is not None else np.full(n, np.nan),
    )


def sleeves_of(named: tuple[Sleeve, ...], strategy: str, limits: RiskLimits, policy: Policy) -> tuple[Sleeve, ...]:
    """The sleeves of an account: those named, else one that has it all. Its stop-loss and take-profit are those of the limits,
    because sizes are made for them."""
    exits = policy.exits._replace(
        stop_loss_fraction=limits.stop_loss_fraction, take_profit_fraction=limits.take_profit_fraction
    )
    return named or (Sleeve(strategy=strategy, budget_fraction=1.0, policy=policy._replace(exits=exits)),)


def sleeves_arrays(view: MarketView, sleeves: Sequence[Sleeve]) -> Sleeves:
    """What each sleeve says of the symbols of the view, and its rules."""
    shape = (len(sleeves), len(view.symbols))
    expected, confidence = np.full(shape, np.nan), np.full(shape, np.nan)
    for k, sleeve in enumerate(sleeves):
        for i, symbol in enumerate(view.symbols):
            forecast = said_by(view.forecasts.get(symbol), sleeve.strategy)
            if isinstance(forecast, Forecast):
                expected[k, i] = expected_return_now(forecast, float(view.price[i]))
                confidence[k, i] = forecast.confidence
            elif isinstance(forecast, Score):
                expected[k, i], confidence[k, i] = forecast.score, 1.0
    return Sleeves(rules_of(sleeves), expected, confidence)


def rules_of(sleeves: Sequence[Sleeve]) -> Floats:
    """The rules of the sleeves as the compiled decision takes them."""
    return np.array([rules_row(sleeve.policy, sleeve.budget_fraction) for sleeve in sleeves])


def holdings_arrays(symbols: Sequence[str], book: Book, sleeves: Sequence[Sleeve]) -> Holdings:
    """The book side, in the order of `symbols`; protective legs are no exits on their way."""
    at = {symbol: i for i, symbol in enumerate(symbols)}
    columns = {name: np.zeros(len(symbols)) for name in Holdings._fields}
    for symbol, position in book.positions.items():
        if symbol in at:
            columns["quantity"][at[symbol]] = float(position.quantity)
            columns["entry"][at[symbol]] = float(position.average_entry_price)
    for order in book.open_orders:
        i = at.get(order.symbol)
        if i is None or order.protective:
            continue
        if order.purpose is Purpose.ENTRY:
            columns["pending_buy"][i] += float(order.quantity)
            columns["pending_price"][i] = max(columns["pending_price"][i], float(order.price or 0))
        elif not order.external:
            columns["pending_exit"][i] = 1.0
    for symbol, sold in _sold_by_people(book).items():
        # What a person is selling is theirs to sell; the rest of the holding is still watched.
        if symbol in at and sold >= book.positions[symbol].quantity:
            columns["pending_exit"][at[symbol]] = 1.0
    for symbol, progress in book.progress.items():
        if symbol in at:
            for name, value in progress._asdict().items():
                columns[name][at[symbol]] = value
    number = {sleeve.strategy: k for k, sleeve in enumerate(sleeves)}
    for symbol, owner in book.owners.items():
        if symbol in at:
            columns["sleeve"][at[symbol]] = number.get(owner, 0)
    for symbol in book.risk.disabled_symbols:
        if symbol in at:
            columns["disabled"][at[symbol]] = 1.0
    for name, counts in (("entries_today", book.entries_today), ("exits_today", book.exits_today)):
        for symbol, count in counts.items():
            if symbol in at:
                columns[name][at[symbol]] = count
    return Holdings(**columns)


def _sold_by_people(book: Book) -> dict[str, Decimal]:
    sold: dict[str, Decimal] = {}
    for order in book.open_orders:
        if order.external and order.purpose is Purpose.EXIT and order.symbol in book.positions:
            sold[order.symbol] = sold.get(order.symbol, Decimal(0)) + order.quantity
    return sold


def money_numbers(view: MarketView, book: Book, risk: RiskState) -> Money:
    """The account; its equity counts as unknown while the books differ or a holding cannot be judged."""
    unjudged = set(book.positions) - set(view.symbols)
    return Money(
        cash=float(book.cash),
        equity=math.nan if unjudged or not book.reconciled else float(book.equity),
        baseline=float(risk.baseline_equity),
        buying_power=float(book.buying_power),
    )


def venue_bits(book: Book, limits: RiskLimits) -> Venue:
    """The breakers on the connection, as the compiled rules take them."""
    return Venue(
        tripped=sum(1 << cause for cause in venue_trouble(book.health, limits)),
        lasting=sum(1 << cause for cause in lasting_trouble(book.health, limits)),
    )


def standing_numbers(risk: RiskState) -> Standing:
    """The risk state; a cause we do not know is a person's."""
    causes = {cause.code: int(cause) for cause in Cause}
    return Standing(
        state=int(risk.trading_state),
        cause=causes.get(risk.cause, int(Cause.OPERATOR)),
        until=risk.until.timestamp() if risk.until else math.nan,
        suspected_at=risk.suspected_at.timestamp() if risk.suspected_at else math.nan,
        high_water=float(risk.high_water_equity),
        steady=risk.steady_readings,
        doubted=math.nan if risk.doubted_equity is None else float(risk.doubted_equity),
    )
