"""BacktestService: from a request to figures, with models that knew nothing of the span they are judged on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Protocol

import numpy as np
import structlog

from app.backtest.bar_tape import continuous_days
from app.backtest.driver import Plan, Run, run
from app.backtest.statistics.verdict import COST_MULTIPLES
from app.backtest.tape import DailyTape, Hours
from app.domain.bar import DAILY, BarSeries
from app.domain.errors import InvalidInput
from app.domain.forecast import Forecaster
from app.domain.verdict import Judged
from app.engine.costs import UNLIMITED, CostModel
from app.learning.model import ParamStore
from app.learning.training import MINIMUM_BARS
from app.risk.limits import Policy, RiskLimits
from app.runtime.calendar import TradingCalendar, new_york_calendar, session_day
from app.services.ai_service import ModelStatus
from app.services.backtests.past_forecasts import closes_of, forecasts_at
from app.services.backtests.report import INDEX, outcome_of, report
from app.services.backtests.request import BacktestRequest, parse_request
from app.services.backtests.strategy_backtest import StrategyBacktest
from app.services.research.retrained_models import OncePerSession, Opening, Progress, walk_forward
from app.services.strategies.shared_account import SharedAccount, choose, with_exits
from app.services.strategies.strategy_service import Chosen, StrategyService
from app.services.verdicts.outcome_verdict import judged_result
from app.services.verdicts.verdict_service import VerdictService, verdict_fields
from app.strategies.catalog import MODEL_DRIVEN
from app.strategies.forecasts import Forecasts

log = structlog.get_logger()
History = Callable[[Sequence[str]], Mapping[str, BarSeries]]
_DATA = {"symbols", "days", "start", "end"}  # fields of a request that say what it is tested on


class Bars(Protocol):
    """Where stored bars are, and where results go."""

    def bars(self, symbols: Sequence[str], timeframe: str) -> dict[str, BarSeries]:
        """Stored bars by symbol; symbols without any are absent."""
        ...

    def save_backtest(self, params: Mapping[str, Any], performance: Mapping[str, Any], result: Mapping[str, Any]) -> str:
        """Keep a finished backtest; its id."""
        ...


class StoredModels(Forecaster, Protocol):
    """Forecasts of the models in use, and what they know."""

    def status(self) -> list[ModelStatus]:
        """Every stored model."""
        ...


@dataclass(frozen=True, slots=True)
class _Span:
    """bars: of the universe. index: of SPY, None when there are none. chosen, tested: of a strategy of rules."""

    bars: dict[str, BarSeries]
    index: BarSeries | None
    sessions: Sequence[Hours]
    chosen: Chosen | SharedAccount | None = None
    tested: StrategyBacktest | None = None


class BacktestService:
    """Backtests through the one decision. history: fetches daily bars of symbols that the database lacks; the database's
    own win where they reach further back. verdicts: judges every result; None: none is judged. strategies: finds those of
    rules; None: there are only the models."""

    def __init__(
        self,
        database: Bars,
        *,
        models: StoredModels,
        params: ParamStore,
        watchlist: Sequence[str],
        limits: RiskLimits,
        policy: Policy,
        cycle_seconds: int = 600,
        history: History | None = None,
        calendar: Callable[[], TradingCalendar] = new_york_calendar,
        workers: int | None = None,
        verdicts: VerdictService | None = None,
        strategies: StrategyService | None = None,
    ) -> None:
        self._database = database
        self._models = models
        self._params = params
        self._watchlist = tuple(watchlist)
        self._limits = limits
        self._policy = policy
        self._cycle_seconds = cycle_seconds
        self._history = history
        self._calendar = calendar
        self._workers = workers
        self._verdicts = verdicts
        self._strategies = strategies

    def run(
        self, params: BacktestRequest | dict[str, Any], progress: Progress = lambda _done, _total, _message: None
    ) -> dict[str, Any]:
        """Run and store a backtest; the answer of S0-50 with curves, trades, benchmarks, reasons and assumptions.

        progress(done, total, what) comes after each trained symbol and each session; what it raises ends the run.
        Raises InvalidInput naming the fault and its mend (unknown_symbol, too_few_bars, model_from_future).
        """
        request = parse_request(params)
        symbols = request.symbols or self._watchlist
        if request.strategy not in (None, MODEL_DRIVEN):
            return self._run_strategy(request, request.strategy, symbols, progress)
        span = self._span(request, symbols)
        # Forecasting takes about as long for one symbol as the driver for a few sessions: one scale for both.
        passes = 1 if self._verdicts is None else 1 + len(COST_MULTIPLES)
        total, finished = len(symbols) + passes * len(span.sessions), len(symbols)
        forecaster = self._forecaster(request, span.bars, span.sessions, lambda done, _, what: progress(done, total, what))

        def simulate(plan: Plan) -> Run:
            nonlocal finished
            tape = DailyTape(span.bars, span.sessions, seed=request.seed)
            ended = run(plan, tape, forecaster, progress=lambda done, _, day: progress(finished + done, total, day))
            finished += len(span.sessions)
            return ended

        return self._answer(request, span, simulate(self._plan(request, symbols)), simulate)

    def _run_strategy(self, request: BacktestRequest, name: str, symbols: Sequence[str], progress: Progress) -> dict[str, Any]:
        if self._strategies is None:
            raise InvalidInput("only the models can be tested here; leave out strategy", code="strategy_unknown")
        chosen = choose(self._strategies, name, request.parameters)
        if chosen.uses_models and request.timeframe != DAILY:
            raise InvalidInput(f"{name} uses forecasts of daily bars; leave out timeframe {request.timeframe}")
        bars = self._stored(symbols, request.timeframe, needed=symbols if chosen.uses_models else ())
        covered, start = self._covered(request, symbols, bars)
        traded = [hours for hours in covered if hours.day >= start]
        passes = 1 if self._verdicts is None else 1 + len(COST_MULTIPLES)
        finished = len(bars) if chosen.uses_models else 0
        total = finished + passes * len(traded)
        tested = StrategyBacktest(
            chosen,
            bars,
            covered,
            start=start,
            days=self._days(symbols, bars, request.timeframe),
            forecasts=self._forecasts(request, bars, traded, total, progress) if chosen.uses_models else None,
        )
        index = self._bars([INDEX], needed=()).get(INDEX) if INDEX not in bars else bars[INDEX]
        span = _Span(bars, index, tested.sessions, chosen, tested)

        def simulate(plan: Plan) -> Run:
            nonlocal finished
            ended = tested.simulate(plan, lambda done, _, day: progress(finished + done, total, day))
            finished += len(span.sessions)
            return ended

        return self._answer(request, span, simulate(self._plan(request, symbols, chosen)), simulate)

    def _forecasts(
        self, request: BacktestRequest, bars: Mapping[str, BarSeries], traded: Sequence[Hours], total: int, progress: Progress
    ) -> Forecasts:
        """What the models would have said at each close, retrained as time goes on or as stored. progress tells the symbols
        done, of `total`."""
        closes = closes_of(traded)
        _refuse_untrainable(bars, traded[0].day, closes[0].opens_at)
        models = self._forecaster(request, bars, closes, lambda done, _, what: progress(done, total, what))
        return forecasts_at(closes, bars, models, lambda _done, _of, day: progress(len(bars), total, f"forecasts of {day}"))

    def _days(self, symbols: Sequence[str], bars: Mapping[str, BarSeries], timeframe: str) -> Mapping[str, BarSeries] | None:
        """Daily bars beside shorter ones, where every symbol has them."""
        found = None if timeframe == DAILY else self._database.bars(symbols, DAILY)
        return found if found and len(found) == len(bars) else None

    def _stored(self, symbols: Sequence[str], timeframe: str, *, needed: Sequence[str]) -> dict[str, BarSeries]:
        """Bars of every symbol. needed: symbols whose bars have to be enough to train on. Raises InvalidInput naming those
        without any."""
        found = self._bars(symbols, needed=needed) if timeframe == DAILY else self._database.bars(symbols, timeframe)
        unknown = [symbol for symbol in symbols if symbol not in found or not len(found[symbol])]
        if unknown:
            raise InvalidInput(
                f"there are no {timeframe} bars of {_names(unknown)}; check the spelling, or collect their bars first",
                code="unknown_symbol",
                symbols=unknown,
            )
        return {symbol: found[symbol] for symbol in symbols}

    def _covered(
        self, request: BacktestRequest, symbols: Sequence[str], bars: Mapping[str, BarSeries]
    ) -> tuple[Sequence[Hours], date]:
        """All sessions up to the last one traded, and the first day traded. Pairs such as BTC/USDT trade around the clock."""
        pairs = [symbol for symbol in symbols if "/" in symbol]
        if not pairs:
            traded = self._sessions(request, bars)
            first = _day(min(int(series.known_at[0]) for series in bars.values()))
            return self._calendar().between(first, traded[-1].day), traded[0].day
        if len(pairs) < len(symbols):
            raise InvalidInput(f"{_names(pairs)} trade around the clock, the others in sessions; test them apart")
        known_at = np.unique(np.concatenate([series.known_at for series in bars.values()]))
        days = [day for day in continuous_days(known_at) if request.end is None or day.day <= request.end]
        wanted = [day for day in days if request.start is None or day.day >= request.start]
        wanted = wanted if request.start else wanted[-request.days :]
        if len(wanted) < (2 if request.start else request.days):
            raise InvalidInput(
                f"only {len(wanted)} days have bars; ask for fewer days, or choose a span inside the bars", code="too_few_bars"
            )
        return days, wanted[0].day

    def _plan(self, request: BacktestRequest, symbols: Sequence[str], chosen: Chosen | SharedAccount | None = None) -> Plan:
        limits, policy = (self._limits, self._policy) if chosen is None else chosen.rules(self._limits, self._policy)
        changes = request.exits.model_dump(exclude_none=True)
        fractions = request.exits.model_dump(exclude_none=True, include={"stop_loss_fraction", "take_profit_fraction"})
        return Plan(
            symbols=tuple(symbols),
            capital=request.initial_capital,
            limits=limits._replace(**fractions),
            policy=policy._replace(exits=policy.exits._replace(**changes)),
            costs=request.costs,
            liquidity=request.liquidity if request.participation is not None else UNLIMITED,
            grain=request.grain,
            cycle_seconds=self._cycle_seconds,
            strategy=MODEL_DRIVEN if chosen is None else chosen.name,
            sleeves=() if chosen is None else with_exits(chosen.sleeves(policy), changes),
        )

    def _answer(self, request: BacktestRequest, span: _Span, result: Run, simulate: Callable[[Plan], Run]) -> dict[str, Any]:
        engine = None if span.tested is None else span.tested.engine(result.plan)
        answer = report(
            request,
            result,
            bars=span.bars,
            index=span.index,
            sessions=span.sessions,
            engine=engine,
            asks_models=span.chosen is None or span.chosen.uses_models,
        )
        asked = request.model_dump(mode="json") | {"symbols": list(span.bars)}
        judged = None if self._verdicts is None else self._judge(self._verdicts, request, span, result, simulate)
        if judged is not None:
            answer["verdict"] = verdict_fields(judged)
        answer["backtest_id"] = self._database.save_backtest(asked, answer["performance"], answer)
        if self._verdicts is not None and judged is not None:
            self._verdicts.keep(judged, answer["backtest_id"])
        log.info("backtest_completed", backtest_id=answer["backtest_id"], fills=result.fills, sessions=len(span.sessions))
        return answer

    def _judge(
        self, verdicts: VerdictService, request: BacktestRequest, span: _Span, result: Run, simulate: Callable[[Plan], Run]
    ) -> Judged:
        def total_return(costs: CostModel) -> float:
            again = simulate(replace(result.plan, costs=costs))
            return float(again.sessions[-1].equity / again.plan.capital) - 1.0

        plan = result.plan
        rules: dict[str, Any] = {
            "limits": plan.limits._asdict(),
            "policy": plan.policy._asdict() | {"exits": plan.policy.exits._asdict()},
        }
        if plan.sleeves:
            rules["exits"] = {one.strategy: one.policy.exits._asdict() for one in plan.sleeves}
        return verdicts.judge(
            judged_result(
                outcome_of(result, starts_at=int(span.sessions[0].opens_at.timestamp()), benchmarks={}),
                bars=span.bars,
                strategy=plan.strategy,
                values={} if span.chosen is None else dict(span.chosen.values),
                setup={"engine": "driver"} | request.model_dump(mode="json", exclude=_DATA) | rules,
                costs=plan.costs,
                rerun=total_return,
                seed=request.seed,
            )
        )

    def _forecaster(
        self, request: BacktestRequest, bars: Mapping[str, BarSeries], sessions: Sequence[Opening], progress: Progress
    ) -> Forecaster:
        if request.models == "retrain":
            return walk_forward(bars, sessions, self._params, progress=progress, workers=self._workers)
        starts_at = sessions[0].opens_at
        late = [
            model.symbol
            for model in self._models.status()
            if model.symbol in bars and model.trained_through is not None and model.trained_through > starts_at
        ]
        if late:
            raise InvalidInput(
                f"the stored models of {_names(late)} know data after {starts_at:%Y-%m-%d}, when the backtest starts; "
                "use models=retrain, or a later start",
                code="model_from_future",
                symbols=late,
            )
        return OncePerSession(self._models)

    def _span(self, request: BacktestRequest, symbols: Sequence[str]) -> _Span:
        found = self._bars([*symbols, *({INDEX} - set(symbols))], needed=symbols)
        unknown = [symbol for symbol in symbols if symbol not in found]
        if unknown:
            raise InvalidInput(
                f"there are no daily bars of {_names(unknown)}; check the spelling, or collect their bars first",
                code="unknown_symbol",
                symbols=unknown,
            )
        bars = {symbol: found[symbol] for symbol in symbols}
        sessions = self._sessions(request, bars)
        _refuse_untrainable(bars, sessions[0].day, sessions[0].opens_at)
        return _Span(bars, found.get(INDEX), sessions)

    def _bars(self, symbols: Sequence[str], *, needed: Sequence[str]) -> dict[str, BarSeries]:
        found = {symbol: series for symbol, series in self._database.bars(symbols, DAILY).items() if len(series)}
        wanting = [s for s in symbols if s not in found or (s in needed and len(found[s]) < MINIMUM_BARS)]
        if self._history is not None and wanting:
            for symbol, series in self._history(wanting).items():
                if len(series) > (len(found[symbol]) if symbol in found else 0):
                    found[symbol] = series
        return found

    def _sessions(self, request: BacktestRequest, bars: Mapping[str, BarSeries]) -> Sequence[Hours]:
        first = _day(min(int(series.known_at[0]) for series in bars.values()))
        last = _day(max(int(series.known_at[-1]) for series in bars.values()))
        covered = self._calendar().between(max(first, request.start or first), min(last, request.end or last))
        sessions = covered if request.start else covered[-request.days :]
        wanted = 2 if request.start else request.days
        if len(sessions) < wanted:
            raise InvalidInput(
                f"{wanted} sessions were asked for and {len(sessions)} have bars; the bars run from {first} to {last}: "
                "choose a span inside that",
                code="too_few_bars",
            )
        return sessions


def _refuse_untrainable(bars: Mapping[str, BarSeries], day: date, at: datetime) -> None:
    """Raises InvalidInput naming the symbols whose models cannot be trained on what is known at `at`, on the first day."""
    short = [symbol for symbol, series in bars.items() if len(series.known_by(at)) < MINIMUM_BARS]
    if short:
        raise InvalidInput(
            f"{_names(short)}: fewer than {MINIMUM_BARS} daily bars before {day}, which training needs; "
            "ask for fewer days or a later start, collect older bars, or leave them out",
            code="too_few_bars",
            symbols=short,
        )


def _day(second: int) -> date:
    return session_day(datetime.fromtimestamp(second, UTC))


def _names(symbols: Sequence[str]) -> str:
    return ", ".join(symbols[:8]) + (f" and {len(symbols) - 8} more" if len(symbols) > 8 else "")
