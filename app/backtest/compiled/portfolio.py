"""A backtest of a portfolio at compiled speed: what `app.backtest.driver` would do on a `BarTape`, trade by trade.

Money is float64 here. For what the compiled loop cannot do (see `unsupported`) there is the driver.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property, partial

import numpy as np

from app.backtest.attribution import Attribution
from app.backtest.bar_tape import BarTape
from app.backtest.compiled.portfolio_book import Tapes, Traded
from app.backtest.compiled.portfolio_loop import trade
from app.backtest.compiled.portfolio_match import LEG
from app.backtest.compiled.portfolio_terms import Steps, costs_of, steps_of
from app.backtest.driver import Plan, Run, SessionResult, first_risk
from app.backtest.statistics.trades import RoundTrips, slippage_of
from app.backtest.venue import leg_id
from app.domain.bar import Floats
from app.domain.errors import InvalidInput
from app.domain.order import Fill, Purpose, Side
from app.domain.panel import Panel
from app.domain.reason import Reason
from app.domain.trading_state import Cause, Doubt, RiskState, TradingState
from app.engine.arrays import rules_of, sleeves_of, standing_numbers
from app.engine.costs import UNLIMITED
from app.engine.decision import Sleeve
from app.engine.ledger import Execution
from app.engine.rules import Integers, Venue, is_stressed_each
from app.risk.limits import RiskLimits

LASTING = sum(1 << int(cause) for cause in (Cause.VENUE_ERRORS, Cause.CONNECTIVITY))


def unsupported(plan: Plan, tape: BarTape) -> str | None:
    """Why the compiled loop cannot run this plan, None when it can."""
    return _refusal(plan, tape, steps_of([plan.rules_of(symbol) for symbol in plan.symbols]))


def _refusal(plan: Plan, tape: BarTape, steps: Steps | None) -> str | None:
    if plan.liquidity != UNLIMITED:
        return "orders may fill in parts"
    if any(s.policy.exits.partial_at_r > 0.0 and s.policy.exits.partial_fraction > 0.0 for s in shared_by(plan)):
        return "the exit policy sells in parts"
    if steps is None:
        return "a price or quantity step is no power of ten"
    if np.any(np.diff(tape.panel.known_at) <= 0):
        return "several bars were complete at the same moment"
    return None


def shared_by(plan: Plan) -> tuple[Sleeve, ...]:
    """The sleeves of a plan's account, one where it names none."""
    return sleeves_of(plan.sleeves, plan.strategy, plan.limits, plan.policy)


@dataclass(frozen=True, kw_only=True)
class Portfolio:
    """What came of a plan. traded: as arrays, see `Traded`; prices are on the tick, money is float64."""

    plan: Plan
    tape: BarTape
    traded: Traded

    @property
    def equity(self) -> Floats:
        """The account after each bar of the traded sessions, the capital first."""
        start, _ = self.tape.bars_of(0)
        return np.concatenate(([float(self.plan.capital)], self.traded.curve[start:, 0]))

    def executions(self) -> Iterator[Execution]:
        """Every fill, in time order."""
        symbols, known_at, costs = self.plan.symbols, self.tape.panel.known_at, self.plan.costs
        names = [sleeve.strategy for sleeve in self.plan.sleeves] or [""]
        for number, (bar, row, sign, units, at, _, reason, sleeve) in enumerate(self.traded.fills.tolist()):
            symbol, side = symbols[int(row)], Side.BUY if sign > 0 else Side.SELL
            quantity, price = Decimal(repr(units)), Decimal(repr(at))
            why = Reason(int(reason) % LEG).code
            name = leg_id(f"{symbol}-{number}", why) if reason >= LEG else f"{symbol}-{number}"
            fill = Fill(
                execution_id=name,
                venue_order_id=name,
                symbol=symbol,
                side=side,
                quantity=quantity,
                price=price,
                filled_at=datetime.fromtimestamp(int(known_at[int(bar)]), UTC),
                commission=costs.commission(quantity, price),
            )
            purpose = Purpose.ENTRY if side is Side.BUY else Purpose.EXIT
            yield Execution(fill=fill, client_order_id=name, purpose=purpose, reason=why, strategy=names[int(sleeve)])

    def run(self) -> Run:
        """The same as the driver gives, equity to a millionth."""
        trips, run = RoundTrips(), Run(plan=self.plan)
        attribution, unmarked = Attribution(self.plan.sleeves, self.plan.costs), self._closes()
        for execution in self.executions():
            while unmarked and execution.fill.filled_at > unmarked[0][0]:
                attribution.mark(unmarked.pop(0)[1])
            attribution.book(execution)
            trips.book(execution)
            run.fills += 1
            run.traded_value += execution.fill.quantity * execution.fill.price
            run.commissions += execution.fill.commission
            run.slippage += slippage_of(execution, self.plan.costs)
        for _, price_of in unmarked:
            attribution.mark(price_of)
        run.attribution = attribution.results
        run.round_trips = trips.closed
        run.sessions = self._sessions()
        run.open_positions = run.sessions[-1].positions
        counts = self.traded.counts
        run.orders, run.refused = int(counts[4]), int(counts[5])
        start, _ = self.tape.bars_of(0)
        run.decisions = len(self.tape.panel) - start
        run.reasons = Counter({Reason(i).code: int(n) for i, n in enumerate(self.traded.reasons) if n})
        run.alerts = list(self._alerts())
        run.risk = self._risk()
        return run

    def _closes(self) -> list[tuple[datetime, Callable[[str], Decimal]]]:
        """Instant and newest prices of the last bar of each session; none where there are no sleeves to tell apart."""
        if not self.plan.sleeves:
            return []
        rows = dict(zip(self.plan.symbols, self.tape.rows(self.plan.symbols).tolist(), strict=True))
        close = self.tape.panel.close
        newest = np.maximum.accumulate(np.where(np.isfinite(close), np.arange(close.shape[1]), 0), axis=1)
        ends = [self.tape.bars_of(number)[1] - 1 for number in range(len(self.tape.sessions))]

        def price(last: int, symbol: str) -> Decimal:
            row = rows[symbol]
            return self.plan.rules_of(symbol).price_nearest(float(close[row, newest[row, last]]))

        known_at = self.tape.panel.known_at
        return [(datetime.fromtimestamp(int(known_at[last]), UTC), partial(price, last)) for last in ends]

    def _sessions(self) -> list[SessionResult]:
        found = []
        for number, hours in enumerate(self.tape.sessions):
            equity, cash, positions, state = self.traded.curve[self.tape.bars_of(number)[1] - 1].tolist()
            equity, cash = round(equity, 6), round(cash, 6)  # float sums of cents end in noise
            found.append(
                SessionResult(
                    closes_at=hours.closes_at,
                    equity=_exact(equity),
                    positions_value=_exact(equity) - _exact(cash),
                    positions=int(positions),
                    trading_state=TradingState(int(state)),
                )
            )
        return found

    def _alerts(self) -> Iterator[str]:
        for bar, old, state, cause, until, doubt in self.traded.changes.tolist():
            at = datetime.fromtimestamp(int(self.tape.panel.known_at[int(bar)]), UTC)
            yield f"{at:%Y-%m-%d %H:%M} {_told(old, state, cause, until, doubt)}"

    def _risk(self) -> RiskState:
        standing, capital = self.traded.standing, self.plan.capital
        changed = self.traded.changes[self.traded.changes[:, 1] >= 0.0]
        since = int(self.tape.panel.known_at[int(changed[-1, 0])]) if len(changed) else None
        first = first_risk(capital, self.tape.sessions[0])
        disabled = np.flatnonzero(self.traded.holdings.disabled)
        return RiskState(
            trading_state=TradingState(standing.state),
            cause=Cause(standing.cause).code,
            actor="system",
            since=first.since if since is None else datetime.fromtimestamp(since, UTC),
            until=_instant(standing.until),
            baseline_equity=_exact(self.traded.baseline),
            baseline_session=self.tape.sessions[-1].day.isoformat(),
            high_water_equity=_exact(standing.high_water),
            suspected_at=_instant(standing.suspected_at),
            steady_readings=int(standing.steady),
            doubted_equity=None if np.isnan(standing.doubted) else _exact(standing.doubted),
            disabled_symbols=tuple(self.plan.symbols[int(i)] for i in disabled),
        )


class Market:
    """A tape laid out for the loop, for any number of runs over the symbols of `plan`."""

    def __init__(self, tape: BarTape, symbols: tuple[str, ...]) -> None:
        self.tape, self.symbols = tape, symbols
        rows = tape.rows(symbols)
        self._whole = rows.tolist() == list(range(len(tape.symbols)))
        self._rows = rows
        self._stressed: tuple[RiskLimits, Integers] | None = None

    def by_time(self, columns: Floats) -> Floats:
        """Columns of the panel, shape (n_symbols, n_bars), as rows of the chosen symbols, bar after bar."""
        return np.ascontiguousarray(self._chosen(columns).T)

    def by_symbol(self, columns: Floats) -> Floats:
        """Columns of the panel for the chosen symbols."""
        return np.ascontiguousarray(self._chosen(columns))

    def _chosen(self, columns: Floats) -> Floats:
        return columns if self._whole else columns[self._rows]

    @cached_property
    def price_and_age(self) -> tuple[Floats, Floats]:
        """The newest close at each bar, and its age in seconds; shape (n_bars, n_symbols), one row of ages without gaps."""
        close, known_at = self._chosen(self.tape.panel.close), self.tape.panel.known_at
        traded = np.isfinite(close)
        if traded.all():
            return np.ascontiguousarray(close.T), np.zeros((1, len(self.symbols)))
        newest = np.maximum.accumulate(np.where(traded, np.arange(close.shape[1]), -1), axis=1)
        seen = newest >= 0
        price = np.where(seen, np.take_along_axis(close, np.maximum(newest, 0), axis=1), np.nan)
        age = np.where(seen, (known_at - known_at[np.maximum(newest, 0)]).astype(np.float64), np.nan)
        return np.ascontiguousarray(price.T), np.ascontiguousarray(age.T)

    @cached_property
    def figures(self) -> tuple[Floats, ...]:
        """Those of the completed days, shape (n_sessions, n_symbols)."""
        return tuple(np.ascontiguousarray(array if self._whole else array[:, self._rows]) for array in self.tape.figures)

    def stressed(self, limits: RiskLimits) -> Integers:
        """How many symbols are stressed in each session, see `is_stressed_each`."""
        if self._stressed is None or self._stressed[0] != limits:
            _, volatility, usual, _ = self.figures
            self._stressed = limits, is_stressed_each(volatility, usual, limits)
        return self._stressed[1]

    @cached_property
    def bars(self) -> tuple[Floats, Floats, Floats, Floats]:
        """open, high, low, volume of the chosen symbols, shape (n_symbols, n_bars)."""
        panel: Panel = self.tape.panel
        return (
            self.by_symbol(panel.open),
            self.by_symbol(panel.high),
            self.by_symbol(panel.low),
            self.by_symbol(panel.volume),
        )


def trade_portfolio(
    plan: Plan, market: Market, expected: Floats, confidence: Floats | None = None, *, keep: bool = False
) -> Portfolio:
    """Trade the sessions of a tape. expected: expected return or score at each bar of its panel, shape (n_symbols, n_bars),
    NaN for none; with sleeves one such array for each, shape (n_sleeves, n_symbols, n_bars). confidence: the same, 1.0
    throughout if None. keep: the reason of each symbol at each decision."""
    tape = market.tape
    if tuple(plan.symbols) != tuple(market.symbols):
        raise InvalidInput("the market is laid out for other symbols than those of the plan")
    steps = steps_of([plan.rules_of(symbol) for symbol in plan.symbols])
    reason = _refusal(plan, tape, steps)
    if reason or steps is None:
        raise InvalidInput(f"the compiled loop cannot run this plan: {reason}", code="not_compiled")
    shape = (len(plan.sleeves), *tape.panel.close.shape) if plan.sleeves else tape.panel.close.shape
    if expected.shape != shape:
        raise InvalidInput(f"expected has shape {expected.shape}, the bars and sleeves {shape}")
    traded = trade(
        tapes_of(plan, market, expected, confidence),
        tape.first,
        float(plan.capital),
        standing_numbers(first_risk(plan.capital, tape.sessions[0])),
        Venue(0, LASTING),
        steps,
        costs_of(plan.costs),
        plan.limits,
        rules_of(shared_by(plan)),
        keep,
    )
    return Portfolio(plan=plan, tape=tape, traded=traded)


def tapes_of(plan: Plan, market: Market, expected: Floats, confidence: Floats | None) -> Tapes:
    """What the loop reads; the arguments as in `trade_portfolio`."""
    tape = market.tape
    price, age = market.price_and_age
    opened, high, low, volume = market.bars
    last_close, volatility, usual, atr = market.figures
    return Tapes(
        opened,
        high,
        low,
        volume,
        price,
        age,
        _by_sleeve(market, expected),
        np.ones((1, len(expected) if plan.sleeves else 1, len(market.symbols)))
        if confidence is None
        else _by_sleeve(market, confidence),
        tape.edges,
        tape.panel.known_at.astype(np.float64),
        tape.closes_at.astype(np.float64),
        last_close,
        volatility,
        usual,
        atr,
        market.stressed(plan.limits),
    )


def _by_sleeve(market: Market, columns: Floats) -> Floats:
    """As rows, shape (n_bars, n_sleeves, n_symbols); columns: of one sleeve, or an array for each."""
    if columns.ndim == 2:
        return market.by_time(columns)[:, None, :]
    return np.ascontiguousarray(np.stack([market.by_time(one) for one in columns], axis=1))


def _told(old: float, state: float, cause: float, until: float, doubt: float) -> str:
    if old < 0.0:
        return "Too many entries in one day: a symbol is disabled until a person enables it"
    if old == state and doubt:
        return f"A reading of the account is not believed: {Doubt(int(doubt)).text}"
    ends = _instant(until)
    span = f" until {ends:%Y-%m-%d %H:%M} UTC" if ends else ""
    why = f" ({Doubt(int(doubt)).text})" if int(cause) == Cause.EQUITY_UNRELIABLE else ""
    return (
        f"Trading state {TradingState(int(old)).name} -> {TradingState(int(state)).name}{span}: {Cause(int(cause)).code}{why}"
    )


def _exact(amount: float) -> Decimal:
    return Decimal(repr(float(amount)))


def _instant(seconds: float) -> datetime | None:
    return None if np.isnan(seconds) else datetime.fromtimestamp(seconds, UTC)
