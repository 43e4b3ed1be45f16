"""A drill: would every breaker fire on this system's own inputs, under its own limits? Pure; the very `decide` answers.

Each row alters a copy of recorded inputs so that one breaker must fire, and only that one: the first row alters nothing
and must stay ACTIVE.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

import numpy as np

from app.domain.bar import Floats
from app.domain.forecast import Forecast
from app.domain.instrument import Instrument
from app.domain.order import Order, OrderType, Purpose, Side
from app.domain.portfolio import Position
from app.domain.reason import Reason
from app.domain.trading_state import STEADY, Cause, TradingState, VenueHealth
from app.engine.decide import decide
from app.engine.decision import Decision
from app.engine.recording import Inputs
from app.risk.checks import Refusal, Room, validate
from app.risk.limits import RiskLimits

Alter = Callable[[Inputs], Inputs]
# What is injected, the altered readings one after the other, and the state and cause they must end in.
Scenario = tuple[str, list[Alter], TradingState, Cause]
STEP = timedelta(minutes=10)
HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillRow:
    """One breaker. injected: the altered reading. state: what the system would have been in. orders: what it would have
    sent, as `sell AAPL`. fires: whether that is what the breaker promises."""

    breaker: str
    injected: str
    state: str
    orders: tuple[str, ...]
    fires: bool


def drill(recorded: Inputs) -> list[DrillRow]:
    """All rows. The inputs must hold at least one symbol with a price."""
    base = _calm(recorded)
    return [*_standing_rows(base), *_symbol_rows(base), *_order_rows(base.limits)]


def _standing_rows(base: Inputs) -> list[DrillRow]:
    control: Scenario = ("nothing altered", [_same], TradingState.ACTIVE, Cause.STARTED)
    killed = {"trading_state": TradingState.HALTED, "cause": Cause.KILLED.code}
    kill: Scenario = ("kill switch engaged", [lambda i: _risk(i, **killed)], TradingState.HALTED, Cause.KILLED)
    # The shares of a universe of a few symbols mean nothing, so their breakers are off.
    off = {Cause.STALE_DATA, Cause.EXTREME_VOLATILITY} if len(base.view.symbols) < base.limits.least_symbols else set()
    scenarios = [control, *_losses(base), *_doubts(base), *_outages(base), kill]
    return [_row(base, *scenario) for scenario in scenarios if scenario[3] not in off]


def _losses(base: Inputs) -> list[Scenario]:
    limits, equity = base.limits, base.book.equity
    daily, hard, drawdown = limits.max_daily_loss_fraction, limits.flatten_daily_loss_fraction, limits.max_drawdown_fraction

    def lost(fraction: float) -> Alter:
        return lambda i: _risk(i, baseline_equity=equity / (1 - _exact(fraction)))

    def fallen(i: Inputs) -> Inputs:
        return _risk(i, high_water_equity=equity / (1 - _exact(drawdown)))

    return [
        (f"loss of {daily:.2%} today", [lost(daily)], TradingState.REDUCING, Cause.DAILY_LOSS),
        (f"loss of {hard:.2%} today, one reading", [lost(hard)], TradingState.REDUCING, Cause.DAILY_LOSS),
        (f"loss of {hard:.2%} today, two readings", [lost(hard)] * 2, TradingState.FLATTENING, Cause.HARD_DAILY_LOSS),
        (f"{drawdown:.0%} below the peak", [fallen], TradingState.HALTED, Cause.DRAWDOWN),
    ]


def _doubts(base: Inputs) -> list[Scenario]:
    """Readings that must stop entries, sell nothing, and leave the peak alone."""
    limits, (symbol, position) = base.limits, next(iter(base.book.positions.items()))
    at, equity = base.view.symbols.index(symbol), base.book.equity
    usual = limits.jump_multiple * float(base.view.volatility[at])
    jump = math.exp(-min(usual, limits.largest_jump_fraction) - 0.01)
    old = limits.max_price_age_seconds + 1.0

    def price(factor: float) -> Alter:
        """The venue's equity follows its price, as it would."""

        def alter(i: Inputs) -> Inputs:
            prices = _with(i.view.price, at, float(i.view.price[at]) * factor)
            change = position.quantity * _exact(float(prices[at] - i.view.price[at]))
            return _book(replace(i, view=replace(i.view, price=prices)), equity=i.book.equity + change)

        return alter

    def aged(i: Inputs) -> Inputs:
        return replace(i, view=replace(i.view, age_seconds=_with(i.view.age_seconds, at, old)))

    readings: list[tuple[str, list[Alter]]] = [
        ("equity 0, ten readings", [lambda i: _book(i, equity=Decimal(0))] * 10),
        ("equity of 40 % of our mark, three readings", [lambda i: _book(i, equity=equity * 40 / HUNDRED)] * 3),
        (f"{symbol} at {jump:.0%} of its last close, once", [price(jump)]),
        (f"{symbol} at a tenth of its last close, ten readings", [price(0.1)] * 10),
        (f"{symbol} without a fresh price", [aged]),
        ("books differ", [lambda i: _book(i, reconciled=False)]),
    ]
    return [(injected, steps, TradingState.REDUCING, Cause.EQUITY_UNRELIABLE) for injected, steps in readings]


def _outages(base: Inputs) -> list[Scenario]:
    limits, calls = base.limits, base.limits.min_calls
    failing = VenueHealth(calls=calls, errors=int(limits.max_error_fraction * calls) + 1)
    silent = VenueHealth(calls=1, errors=1, silent_seconds=limits.max_silence_seconds + 1)
    apart = VenueHealth(good_in_a_row=limits.good_probes, clock_skew_seconds=limits.max_clock_skew_seconds + 1)
    stress = limits.market_volatility_multiple * 1.01
    # Not the prices of holdings: that would be another breaker's.
    held = np.array([symbol in base.book.positions for symbol in base.view.symbols])
    ages = np.where(held, 0.0, limits.max_price_age_seconds + 1.0)

    def wild(i: Inputs) -> Inputs:
        return replace(i, view=replace(i.view, volatility=i.view.volatility * stress))

    outages: list[tuple[str, Alter, Cause]] = [
        (f"{failing.errors} of {calls} calls fail", lambda i: _book(i, health=failing), Cause.VENUE_ERRORS),
        (f"no answer for {silent.silent_seconds:.0f} s", lambda i: _book(i, health=silent), Cause.CONNECTIVITY),
        (f"clocks {apart.clock_skew_seconds:.0f} s apart", lambda i: _book(i, health=apart), Cause.CLOCK_SKEW),
        ("most prices stale", lambda i: replace(i, view=replace(i.view, age_seconds=ages)), Cause.STALE_DATA),
        (f"volatility {stress:.2f} times the usual", wild, Cause.EXTREME_VOLATILITY),
    ]
    return [(injected, [alter], TradingState.REDUCING, cause) for injected, alter, cause in outages]


def _row(base: Inputs, injected: str, steps: Sequence[Alter], state: TradingState, cause: Cause) -> DrillRow:
    decision = _decided(base, steps)
    sold = {v.order.symbol for v in decision.orders if v.order.purpose is Purpose.EXIT}
    bought = any(v.order.purpose is Purpose.ENTRY for v in decision.orders)
    selling_fits = sold == set(base.book.positions) if state is TradingState.FLATTENING else not sold
    as_promised = (decision.risk.trading_state, decision.risk.cause) == (state, cause.code) and selling_fits
    peak_kept = decision.risk.high_water_equity >= base.book.risk.high_water_equity
    return DrillRow(
        breaker="none" if cause is Cause.STARTED else cause.code,
        injected=injected,
        state=f"{decision.risk.trading_state.name} ({decision.risk.cause})",
        orders=_orders(decision),
        fires=as_promised and peak_kept and (not bought or state is TradingState.ACTIVE),
    )


def _symbol_rows(base: Inputs) -> list[DrillRow]:
    """Breakers on one symbol: a wish to buy it that must be refused."""
    wished = next((s for s in base.view.symbols if s not in base.book.positions), None)
    if wished is None:
        return [DrillRow(breaker="per symbol", injected="every symbol is held", state="", orders=(), fires=False)]
    at, limits = base.view.symbols.index(wished), base.limits
    price = float(base.view.price[at])
    expected = max(0.05, base.policy.buy_threshold)
    forecast = Forecast(
        symbol=wished,
        daily_return=expected,
        confidence=1.0,
        members=(expected,),
        last_close=price,
        last_close_at=base.view.decided_at,
        model="drill",
    )
    wish = replace(base, view=replace(base.view, forecasts={**base.view.forecasts, wished: forecast}))
    extreme = float(wish.view.volatility[at]) * limits.symbol_volatility_multiple * 1.01
    wild = replace(wish, view=replace(wish.view, volatility=_with(wish.view.volatility, at, extreme)))
    jumped = replace(wish, view=replace(wish.view, last_close=_with(wish.view.price, at, price / 3)))
    often = _book(wish, entries_today={wished: limits.max_entries_per_day})
    disabled = _risk(wish, disabled_symbols=(wished,))
    rows = (
        ("repeated_executions", f"{limits.max_entries_per_day} entries in {wished} today", often, Reason.ENTRIES_TODAY),
        ("repeated_executions", f"{wished} is disabled", disabled, Reason.SYMBOL_DISABLED),
        (
            "extreme_volatility",
            f"{wished} moves {extreme:.0%} a day",
            wild,
            Reason.EXTREME_VOLATILITY,
        ),
        ("price_jump", f"{wished} at three times its last close", jumped, Reason.EXTREME_VOLATILITY),
    )
    answers = [(name, injected, _decided(inputs, [_same]), reason) for name, injected, inputs, reason in rows]
    return [
        DrillRow(
            breaker=name,
            injected=injected,
            state=f"{decision.risk.trading_state.name}; {decision.records[at].reason.code}",
            orders=_orders(decision),
            fires=decision.records[at].reason is reason
            and (reason is not Reason.ENTRIES_TODAY or wished in decision.risk.disabled_symbols),
        )
        for name, injected, decision, reason in answers
    ]


def _order_rows(limits: RiskLimits) -> list[DrillRow]:
    """The exact check, one limit at a time, on an order of 1 % of the equity that keeps all others."""
    room = Room(
        state=TradingState.ACTIVE,
        equity=HUNDRED * 1000,
        gross_value=Decimal(0),
        buying_power=HUNDRED * 1000,
        positions=frozenset(),
        held={},
        prices={"A": HUNDRED},
    )
    order = Order(
        client_order_id="drill",
        symbol="A",
        side=Side.BUY,
        quantity=Decimal(10),
        purpose=Purpose.ENTRY,
        reason="drill",
        type=OrderType.LIMIT,
        limit_price=HUNDRED,
        take_profit_price=HUNDRED * 2,
        stop_loss_price=HUNDRED * 95 / 100,
    )
    size = _exact(limits.max_position_fraction)
    slots = frozenset(f"H{i}" for i in range(limits.max_positions))
    collar = HUNDRED * (1 + _exact(limits.price_collar_fraction)) + Decimal("0.01")
    risky = replace(order, quantity=Decimal(int(1000 * size)), stop_loss_price=Decimal("0.01"))
    cases = (
        ("price_collar", "a cent beyond the collar", replace(order, limit_price=collar), room),
        ("max_position_size", "a share too many", replace(order, quantity=Decimal(int(1000 * size) + 1)), room),
        ("max_exposure", "no room left", order, replace(room, gross_value=room.equity * _exact(limits.max_exposure_fraction))),
        ("max_positions", "every slot taken", order, replace(room, positions=slots)),
        ("buying_power", "a cent short", order, replace(room, buying_power=Decimal("999.99"))),
        ("risk_per_trade", "a stop at a cent", risky, room),
        ("trading_state", "while reducing", order, replace(room, state=TradingState.REDUCING)),
    )
    rows = []
    for rule, injected, altered, left in cases:
        answer = validate(altered, Instrument(symbol="A"), left, limits)
        fires = isinstance(answer, Refusal) and answer.rule == rule
        state = f"refused: {answer.rule}" if isinstance(answer, Refusal) else "accepted"
        rows.append(DrillRow(breaker=rule, injected=injected, state=state, orders=(), fires=fires))
    return rows


def _calm(recorded: Inputs) -> Inputs:
    """The recorded account and market, but quiet: fresh prices, one holding of 5 %, an unburdened risk state."""
    view, book = recorded.view, recorded.book
    price = np.where(np.isfinite(view.price) & (view.price > 0), view.price, 100.0)
    volatility = np.where(np.isfinite(view.volatility) & (view.volatility > 0.005), view.volatility, 0.02)
    symbol, known = view.symbols[0], book.equity.is_finite() and book.equity > HUNDRED
    equity = book.equity if known else HUNDRED * 1000
    mark = _exact(float(price[0]))
    units = max((equity / 20 / mark) // 1, Decimal(1))
    held = {symbol: Position(symbol=symbol, quantity=units, average_entry_price=mark)}
    cash = equity - units * mark
    instruments = {s: Instrument(symbol=s) for s in view.symbols}
    risk = replace(
        book.risk,
        trading_state=TradingState.ACTIVE,
        cause=Cause.STARTED.code,
        until=None,
        suspected_at=None,
        baseline_session=book.session,
        baseline_equity=equity,
        high_water_equity=equity,
        steady_readings=STEADY,
        doubted_equity=None,
        disabled_symbols=(),
    )
    quiet = replace(
        view,
        price=price,
        age_seconds=np.zeros(len(price)),
        volatility=volatility,
        usual_volatility=volatility,
        last_close=price,
        tradable=np.ones(len(price)),
        forecasts={},
    )
    calm = replace(
        book,
        cash=cash,
        equity=equity,
        buying_power=cash,
        previous_close_equity=equity,
        positions=held,
        open_orders=(),
        entries_today={},
        exits_today={},
        reconciled=True,
        health=VenueHealth(),
        risk=risk,
    )
    # Breakers are the account's, whoever shares it.
    return replace(recorded, view=quiet, book=calm, context=replace(recorded.context, instruments=instruments, sleeves=()))


def _decided(base: Inputs, steps: Sequence[Alter]) -> Decision:
    """The decision after one altered reading every ten minutes, each under the state that the one before left."""
    first, *others = steps
    decision = _decide(first(base))
    for number, alter in enumerate(others, start=1):
        later = replace(base, view=replace(base.view, decided_at=base.view.decided_at + STEP * number))
        decision = _decide(_book(alter(later), risk=decision.risk))
    return decision


def _decide(inputs: Inputs) -> Decision:
    return decide(inputs.view, inputs.book, inputs.context, inputs.limits, inputs.policy)


def _same(inputs: Inputs) -> Inputs:
    return inputs


def _book(inputs: Inputs, **changes: object) -> Inputs:
    return replace(inputs, book=replace(inputs.book, **changes))  # type: ignore[arg-type]


def _risk(inputs: Inputs, **changes: object) -> Inputs:
    return _book(inputs, risk=replace(inputs.book.risk, **changes))  # type: ignore[arg-type]


def _with(values: Floats, at: int, value: float) -> Floats:
    changed = values.copy()
    changed[at] = value
    return changed


def _orders(decision: Decision) -> tuple[str, ...]:
    return tuple(f"{v.order.side} {v.order.symbol}" for v in decision.orders)


def _exact(value: float) -> Decimal:
    return Decimal(repr(value))
