"""The event loop of a backtest: at each slot build the view and the book, decide, cancel, submit; between slots, match.

The decision is `app.engine.decide`, the matching `app.engine.matching`; nothing here judges. Fed with the data, seed, slots,
forecasts and costs of a run on the simulated exchange it makes the same decisions and fills.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from app.backtest.attribution import Attribution, SleeveResult
from app.backtest.statistics.trades import RoundTrip, RoundTrips, slippage_of
from app.backtest.tape import Hours, MarketSession, Tape, cycle_slots
from app.backtest.venue import BacktestVenue
from app.domain.exits import PositionPlan, standing
from app.domain.forecast import Forecaster
from app.domain.instrument import Instrument
from app.domain.order import Purpose
from app.domain.trading_state import Cause, RiskState, TradingState
from app.engine.costs import UNLIMITED, CostModel, Liquidity
from app.engine.decision import Book, Context, Decision, Sleeve
from app.engine.ledger import Execution, parts_taken
from app.engine.recording import Inputs
from app.risk.limits import Policy, RiskLimits

Progress = Callable[[int, int, str], None]
Observer = Callable[[Inputs, Decision, list[Execution]], None]


class Grain(StrEnum):
    """cycle: a decision at every slot, as live. session: one a session, at its first slot; an entry then rests until the
    next session's decision instead of the next cycle's."""

    CYCLE = "cycle"
    SESSION = "session"


def cycle_name(slot: datetime) -> str:
    """The id of the cycle of a slot, as live trading names it; client order ids depend on it."""
    return f"{slot:%Y%m%dT%H%M%SZ}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is run. symbols: the universe, in the order of the watch list. cycle_seconds: distance of the slots. sleeves: the
    strategies that share the account; none: `strategy` has it all, and follows `policy`."""

    symbols: tuple[str, ...]
    capital: Decimal
    limits: RiskLimits
    policy: Policy
    costs: CostModel
    liquidity: Liquidity = UNLIMITED
    grain: Grain = Grain.SESSION
    cycle_seconds: int = 600
    account_id: str = "backtest"
    strategy: str = "ensemble"
    instruments: Mapping[str, Instrument] = field(default_factory=dict)
    cycle_name: Callable[[datetime], str] = cycle_name
    sleeves: tuple[Sleeve, ...] = ()

    def rules_of(self, symbol: str) -> Instrument:
        """The trading rules of `symbol`; those of a US stock unless given."""
        return self.instruments.get(symbol) or Instrument(symbol=symbol)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionResult:
    """The account at a session's close, account currency."""

    closes_at: datetime
    equity: Decimal
    positions_value: Decimal
    positions: int
    trading_state: TradingState


@dataclass(slots=True, kw_only=True)
class Run:
    """What came of a plan. traded_value: sum of quantity * price over all fills. slippage: the constant part
    of it, currency. refused: orders the venue refused. attribution: a result for each sleeve, none without sleeves."""

    plan: Plan
    sessions: list[SessionResult] = field(default_factory=list)
    fills: int = 0
    traded_value: Decimal = Decimal(0)
    commissions: Decimal = Decimal(0)
    slippage: Decimal = Decimal(0)
    round_trips: list[RoundTrip] = field(default_factory=list)
    open_positions: int = 0
    decisions: int = 0
    orders: int = 0
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    alerts: list[str] = field(default_factory=list)
    risk: RiskState | None = None
    attribution: list[SleeveResult] = field(default_factory=list)


def slots(hours: Hours, grain: Grain, cycle_seconds: int) -> Iterator[datetime]:
    """The decision instants of a session: one cycle after the open, then every cycle, before the close."""
    return cycle_slots(hours, cycle_seconds, once=grain is Grain.SESSION)


def run(
    plan: Plan,
    tape: Tape,
    forecaster: Forecaster,
    *,
    progress: Progress = lambda _done, _total, _message: None,
    observer: Observer | None = None,
) -> Run:
    """Trade every session of `tape`. progress(done, total, ISO date) comes after each; what it raises ends the run.

    observer sees the inputs and the answer of each decision, and the executions since the one before it.
    """
    return _Driver(plan, tape, forecaster, observer).run(progress)


class _Driver:
    def __init__(self, plan: Plan, tape: Tape, forecaster: Forecaster, observer: Observer | None) -> None:
        self._plan, self._tape, self._forecaster, self._observer = plan, tape, forecaster, observer
        instruments = {symbol: plan.rules_of(symbol) for symbol in plan.symbols}
        self._venue = BacktestVenue(cash=plan.capital, costs=plan.costs, instruments=instruments, liquidity=plan.liquidity)
        self._instruments = instruments
        self._risk = first_risk(plan.capital, tape.sessions[0])
        self._run = Run(plan=plan)
        self._trips = RoundTrips()
        self._attribution = Attribution(plan.sleeves, plan.costs)
        self._since: list[Execution] = []
        self._plans: dict[str, PositionPlan] = {}
        self._owners: dict[str, str] = {}

    def run(self, progress: Progress) -> Run:
        total = len(self._tape.sessions)
        for number in range(total):
            session = self._tape.session(number)
            self._trade(session)
            progress(number + 1, total, session.hours.day.isoformat())
        self._run.round_trips = self._trips.closed
        self._run.open_positions = len(self._venue.portfolio.positions)
        self._run.risk = self._risk
        self._run.attribution = self._attribution.results
        return self._run

    def _trade(self, session: MarketSession) -> None:
        self._venue.open_session(session)
        for at in session.decisions(self._plan.cycle_seconds, once=self._plan.grain is Grain.SESSION):
            self._match(at)
            self._decide(session, at)
        self._match(session.hours.closes_at)
        equity, portfolio = self._venue.close_session(), self._venue.portfolio
        if self._plan.sleeves:
            self._attribution.mark(self._venue.marks(session.hours.closes_at).__getitem__)
        self._run.sessions.append(
            SessionResult(
                closes_at=session.hours.closes_at,
                equity=equity,
                positions_value=equity - portfolio.cash,
                positions=len(portfolio.positions),
                trading_state=self._risk.trading_state,
            )
        )

    def _match(self, to: datetime) -> None:
        for filled in self._venue.advance(to):
            fill = filled.fill
            execution = replace(filled, strategy=self._owners.get(fill.symbol, ""))
            self._run.fills += 1
            self._run.traded_value += fill.quantity * fill.price
            self._run.commissions += fill.commission
            self._run.slippage += slippage_of(execution, self._plan.costs)
            self._trips.book(execution)
            self._attribution.book(execution)
            self._since.append(execution)
            self._plans |= parts_taken(self._plans, execution)

    def _decide(self, session: MarketSession, at: datetime) -> None:
        from app.engine.decide import decide  # the compiled rules weigh 100 MB: only a process that decides loads them

        inputs = self._inputs(session, at)
        decision = decide(inputs.view, inputs.book, inputs.context, inputs.limits, inputs.policy)
        self._risk, self._plans = decision.risk, dict(decision.plans)
        self._run.decisions += 1
        self._run.reasons.update(record.reason.code for record in decision.records)
        self._run.alerts.extend(f"{at:%Y-%m-%d %H:%M} {alert}" for alert in decision.alerts)
        for client_order_id in decision.cancels:
            self._venue.cancel(client_order_id)
        spoke = {record.symbol: record.strategy for record in decision.records}
        for validated in decision.orders:
            refusal = self._venue.submit(validated.order, at)
            self._run.orders += 1
            if refusal is None and validated.order.purpose is Purpose.ENTRY:
                self._owners[validated.order.symbol] = spoke[validated.order.symbol]
            self._run.refused += refusal is not None
        for move in decision.moves:
            self._venue.move_stop(move.client_order_id, move.stop_price, at)
        if self._observer is not None:
            self._observer(inputs, decision, self._since)
        self._since = []

    def _inputs(self, session: MarketSession, at: datetime) -> Inputs:
        plan = self._plan
        forecasts = self._forecaster.forecast(session.history(plan.symbols, at), at)
        view = session.view(plan.symbols, at, forecasts)
        context = Context(
            account_id=plan.account_id,
            strategy=plan.strategy,
            cycle_id=plan.cycle_name(at),
            instruments=self._instruments,
            sleeves=plan.sleeves,
        )
        return Inputs(view=view, book=self._book(at), context=context, limits=plan.limits, policy=plan.policy)

    def _book(self, at: datetime) -> Book:
        venue, ledger = self._venue, self._venue.ledger
        return Book(
            session=ledger.session,
            cash=ledger.portfolio.cash,
            equity=venue.equity(at),
            previous_close_equity=venue.previous_close_equity,
            buying_power=venue.buying_power,
            positions=ledger.portfolio.positions,
            open_orders=venue.open_orders(),
            risk=self._risk,
            entries_today=ledger.entries_today,
            exits_today=ledger.exits_today,
            progress={s: plan.progress for s, plan in standing(self._plans, ledger.portfolio.positions).items()},
            owners=dict(self._owners),
        )


def first_risk(capital: Decimal, hours: Hours) -> RiskState:
    """The risk state of an account before its first session."""
    return RiskState(
        trading_state=TradingState.ACTIVE,
        cause=Cause.STARTED.code,
        actor="system",
        since=hours.opens_at,
        baseline_equity=capital,
        baseline_session=hours.day.isoformat(),
        high_water_equity=capital,
    )
