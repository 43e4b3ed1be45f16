"""The account of a walk-forward: one engine run over all out-of-sample bars, judged and told like any backtest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from app.backtest.bar_tape import BarTape, continuous_days
from app.backtest.compiled.portfolio import Market, trade_portfolio, unsupported
from app.backtest.driver import Plan, Run, run
from app.backtest.outcome import Outcome
from app.backtest.statistics.benchmark import buy_and_hold
from app.backtest.statistics.luck import Plateau, Stay
from app.backtest.statistics.periods import year_of
from app.backtest.tape import Hours
from app.backtest.walk_forward import Taped
from app.domain.bar import BarSeries, Floats
from app.domain.panel import Panel
from app.domain.trial import data_set
from app.domain.verdict import Judged
from app.engine.costs import CostModel
from app.risk.limits import Policy, RiskLimits
from app.runtime.calendar import TradingCalendar, session_day
from app.services.backtests.report import outcome_of
from app.services.backtests.result import result_of
from app.services.backtests.strategy_backtest import COMPILED, DRIVER
from app.services.research.runs import Progress
from app.services.verdicts.verdict_service import Result, verdict_fields

_BPS = 10_000


class Judge(Protocol):
    """Who gives verdicts; see `app.services.verdicts.verdict_service.VerdictService`."""

    def judge(self, result: Result) -> Judged: ...  # noqa: D102
    def keep(self, judged: Judged, backtest_id: str | None = None) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is judged besides the account. sets: returns per session of every set that could have been chosen, out of sample,
    shape (n_sessions, n_sets), None where there was nothing to choose. plateau: of all choices together."""

    strategy: str
    values: Mapping[str, float]
    setup: Mapping[str, Any]
    sets: Floats | None
    plateau: Plateau | None = None


@dataclass(frozen=True, kw_only=True)
class Account:
    """Trades the bars of `panel` from bar `start` on under all risk rules. bars: the same by symbol."""

    panel: Panel
    bars: Mapping[str, BarSeries]
    start: int
    capital: Decimal
    costs: CostModel
    limits: RiskLimits
    policy: Policy
    calendar: TradingCalendar

    @property
    def engine(self) -> str:
        """Which of the two loops trades; both give the same trades."""
        return DRIVER if unsupported(self._plan(1), self._tape) else COMPILED

    def trade(self, forecaster: Taped, progress: Progress, *, cost_multiple: int = 1) -> Run:
        """One run: decisions when a bar is complete, fills in later bars. progress comes after each session, in the compiled
        loop at its end alone."""
        plan = self._plan(cost_multiple)
        if self.engine == DRIVER:
            return run(plan, self._tape, forecaster, progress=progress)
        expected, confidence = forecaster.taped(self._tape.panel)
        ended = trade_portfolio(plan, self._market, expected, confidence).run()
        total = len(self._tape.sessions)
        progress(total, total, self._tape.sessions[-1].day.isoformat())
        return ended

    def outcome(self, found: Run, **benchmarks: Floats | None) -> Outcome:
        """The account of a run, session by session."""
        return outcome_of(found, starts_at=int(self._tape.sessions[0].opens_at.timestamp()), benchmarks=benchmarks)

    def result(
        self,
        found: Run,
        told: Told,
        *,
        judge: Judge,
        assumptions: Mapping[str, Any],
        again: Callable[[int], Run],
    ) -> tuple[dict[str, Any], Judged]:
        """The run as the result of a backtest with its verdict. again: the same run with the costs so many times as high."""
        closes = [int(session.closes_at.timestamp()) for session in found.sessions]
        cost = float(self.costs.slippage_bps + self.costs.commission_bps) / _BPS
        held = buy_and_hold(self.bars, closes, cost_fraction=cost)
        outcome = self.outcome(found, buy_and_hold=held)
        part = self.panel.slice(self.start, len(self.panel))
        judged = judge.judge(
            Result(
                data_set=data_set(part),
                strategy=told.strategy,
                values=told.values,
                setup=told.setup,
                source="walk_forward",
                returns=outcome.curve[1:] / outcome.curve[:-1] - 1.0,
                periods_per_year=outcome.year.periods,
                trades=len(found.round_trips),
                round_trip_cost=2 * cost,
                prices=part.open,
                stays=_stays(found, part),
                returns_of_sets=told.sets,
                plateau=told.plateau,
                rerun=lambda multiple: _total_return(again(multiple)),
            )
        )
        answer = result_of(
            outcome,
            bars=self.bars,
            assumptions={**assumptions, "engine": self.engine},
            dataset=part.digest(),
            points={"trading_state": [session.trading_state.name for session in found.sessions]},
            verdict=verdict_fields(judged),
        )
        answer["performance"] |= {
            "decisions": found.decisions,
            "orders": found.orders,
            "orders_refused_by_venue": found.refused,
        }
        return answer | {"decisions_by_reason": dict(found.reasons.most_common()), "alerts": found.alerts[:200]}, judged

    def _plan(self, cost_multiple: int) -> Plan:
        return Plan(
            symbols=self.panel.symbols,
            capital=self.capital,
            limits=self.limits,
            policy=self.policy,
            costs=multiplied(self.costs, cost_multiple),
        )

    @cached_property
    def _market(self) -> Market:
        return Market(self._tape, self.panel.symbols)

    @cached_property
    def _tape(self) -> BarTape:
        hours = sessions_of(self.panel, self.calendar)
        first = int(self.panel.known_at[self.start])
        day = next(one.day for one in hours if int(one.closes_at.timestamp()) >= first)
        return BarTape(self.panel, hours, start=day)


def sessions_of(panel: Panel, calendar: TradingCalendar) -> list[Hours]:
    """The sessions in which the bars of a panel lie: those of the calendar, or the days of a market that never closes."""
    known = panel.known_at
    if year_of(known) == year_of(known, continuous=True):
        return list(continuous_days(known))
    return list(calendar.between(_day(int(panel.timestamp[0])), _day(int(known[-1]))))


def multiplied(costs: CostModel, multiple: int) -> CostModel:
    """All costs so many times as high."""
    return replace(costs, **{one.name: getattr(costs, one.name) * multiple for one in fields(costs)})


def named(costs: CostModel) -> dict[str, float]:
    """As plain JSON values."""
    return {name: float(value) for name, value in asdict(costs).items()}


def _total_return(found: Run) -> float:
    return float(found.sessions[-1].equity / found.plan.capital) - 1.0


def _stays(found: Run, panel: Panel) -> list[Stay]:
    rows = {symbol: row for row, symbol in enumerate(panel.symbols)}
    out = []
    for trip in found.round_trips:
        entered, left = (
            min(int(np.searchsorted(panel.known_at, int(at.timestamp()))), len(panel) - 1)
            for at in (trip.opened_at, trip.closed_at)
        )
        weight = float(trip.quantity * trip.entry_price / found.plan.capital)
        out.append(Stay(symbol=rows[trip.symbol], entered=entered, left=left, weight=weight))
    return out


def _day(second: int) -> date:
    return session_day(datetime.fromtimestamp(second, UTC))
