"""The only place where adapters meet services: plain calls, top to bottom. Call it after fork."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from app import __version__
from app.brokers.alpaca import AlpacaBroker
from app.brokers.alpaca_data import AlpacaData
from app.brokers.alpaca_stream import AlpacaStream
from app.brokers.alpaca_wire import AlpacaWire
from app.brokers.rate_limit import TokenBucket
from app.celery_config import CeleryTaskQueue, make_celery
from app.config import Settings, TradingMode
from app.domain.audit import digest
from app.domain.bar import DAILY, BarSeries
from app.domain.errors import ConfigurationError, InvalidInput
from app.domain.forecast import Forecaster
from app.domain.ports import Clock
from app.engine.decision import Sleeve
from app.learning.scripted import ScriptedForecaster
from app.marketdata.files import load_bars
from app.marketdata.generator import generate_daily
from app.notify.notifier import Notifier
from app.risk.limits import Policy, RiskLimits
from app.runtime import failpoint
from app.runtime.calendar import TradingCalendar, new_york_calendar
from app.runtime.clock import WallClock
from app.runtime.owner import is_alive, this_process
from app.runtime.redaction import SHORTEST_SECRET, secrets_of
from app.runtime.version import code_version
from app.services.accounts.accounts import Accounts
from app.services.accounts.building import make_accounts
from app.services.ai_service import AIService
from app.services.alpaca_service import FORECAST_DAYS, AlpacaService
from app.services.audit.audit_service import AuditService
from app.services.backtest_service import BacktestService
from app.services.backtests.divergence_service import MINUTES_A_SESSION, DivergenceService, JudgedBars
from app.services.care.backup import BackupService, Place
from app.services.database_service import DatabaseService
from app.services.guard.exit_monitor import ExitMonitor
from app.services.guard.exit_orders import ExitOrders
from app.services.guard.guard_duty import GuardDuty, Turn
from app.services.guard.kill_switch import KillSwitch
from app.services.guard.protection import ProtectionService
from app.services.optimizer_service import OptimizerService
from app.services.research.bench import ResearchBench
from app.services.research.combinatorial import walk_forward_job
from app.services.research.runs import Job, ResearchService
from app.services.research.search import OptimizeJob
from app.services.research.sweep import SweepJob
from app.services.research.windows import Windows
from app.services.risk_manager import RiskManager
from app.services.strategies.check_gate import CheckedContents
from app.services.strategies.check_service import CheckService
from app.services.strategies.shared_account import SharedAccount, choose
from app.services.strategies.strategy_service import Chosen, StrategyService
from app.services.trading.collector import LiveBars
from app.services.trading.execution import Executor
from app.services.trading.market_collector import MarketCollector
from app.services.trading.reconciliation import Reconciler
from app.services.trading.trade_updates import TradeUpdates
from app.services.trading_service import TradingService
from app.services.verdicts.trial_ledger import TrialLedger
from app.services.verdicts.verdict_gate import VerdictGate
from app.services.verdicts.verdict_service import VerdictService
from app.storage.audit import Journal
from app.storage.audit_anchor import Anchor
from app.storage.database import Database
from app.storage.model_files import ModelFiles
from app.storage.param_files import ParamFiles
from app.storage.study_files import study_journal
from app.strategies.catalog import MODEL_DRIVEN

SIMULATED_REQUESTS_PER_MINUTE = 60_000  # our own exchange asks for no restraint


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything a route or task may call."""

    settings: Settings
    clock: Clock
    alpaca: AlpacaService
    ai: AIService
    trading: TradingService
    risk: RiskManager
    policy: Policy
    sleeves: tuple[Sleeve, ...]
    strategies: StrategyService
    kill: KillSwitch
    protection: ProtectionService
    database: DatabaseService
    backtests: BacktestService
    optimizer: OptimizerService
    trials: TrialLedger
    verdicts: VerdictService
    research: ResearchService
    tasks: CeleryTaskQueue
    notifier: Notifier
    audit: AuditService
    checks: CheckService
    divergence: DivergenceService
    accounts: Accounts

    def close(self) -> None:
        """Give back connections."""
        self.database.close()


def build(settings: Settings) -> Services:
    """The services of this process. Migrates the database; opens no connection to the venue or the queue yet."""
    failpoint.arm(settings.crash_at, settings.hold_at, settings.state_dir)
    clock = WallClock()
    database = _database(settings, clock)

    chosen = chosen_strategy(settings)
    limits, policy = _rules(settings, chosen)
    sleeves = chosen.sleeves(policy) if chosen else ()
    strategies = StrategyService(settings.strategies_dir)
    alpaca = _venue(settings, database, clock, chosen)
    params = ParamFiles(settings.params_dir)
    checked_contents = CheckedContents(database, settings.strategies_dir, clock)
    checks = CheckService(
        database,
        find=strategies.find,
        generate=lambda symbols, first, last: generate_daily(7, symbols, new_york_calendar().between(first, last)),
        watchlist=settings.watchlist,
        limits=settings.limits,
        policy=settings.policy,
        checked_contents=checked_contents,
    )
    ai = AIService(ModelFiles(settings.models_dir), params, gate=checks.gate)
    forecaster: Forecaster = ScriptedForecaster(settings.forecasts_file) if settings.forecasts_file else ai
    judge: Forecaster = chosen.forecaster(forecaster) if chosen else forecaster
    risk = _risk(settings, database, alpaca, clock, limits)
    trading = TradingService(
        venue=alpaca,
        forecaster=judge,
        risk=risk,
        database=database,
        clock=clock,
        symbols=settings.watchlist,
        limits=limits,
        policy=policy,
        cycle_seconds=settings.trading_cycle_seconds,
        strategy=chosen.name if chosen else MODEL_DRIVEN,
        sleeves=sleeves,
        live_bars=_live_bars(settings, chosen, alpaca),
        verdicts=VerdictGate(
            database,
            strategy=chosen.name if chosen else MODEL_DRIVEN,
            values=chosen.values if chosen else {},
            real_money=settings.trading_mode is TradingMode.LIVE,
            check=checked_contents.gate(_traded(chosen), uses_models=chosen is None or chosen.uses_models),
        ),
    )
    trials = TrialLedger(database)
    verdicts = VerdictService(database, trials, clock)
    backtests = BacktestService(
        database,
        models=ai,
        params=params,
        watchlist=settings.watchlist,
        limits=settings.limits,
        policy=settings.policy,
        cycle_seconds=settings.trading_cycle_seconds,
        history=lambda symbols: {s: bars for s, bars in alpaca.training_bars(symbols)[0].items() if len(bars)},
        calendar=alpaca.calendar,
        verdicts=verdicts,
        strategies=StrategyService(settings.strategies_dir),
    )
    return Services(
        settings=settings,
        clock=clock,
        alpaca=alpaca,
        ai=ai,
        trading=trading,
        risk=risk,
        policy=policy,
        sleeves=sleeves,
        strategies=strategies,
        kill=KillSwitch(risk=risk, venue=alpaca),
        protection=ProtectionService(database=database, limits=limits, clock=clock, is_alive=is_alive),
        database=database,
        backtests=backtests,
        optimizer=OptimizerService(params),
        trials=trials,
        verdicts=verdicts,
        research=_research(settings, database, verdicts, params, clock, alpaca.calendar),
        tasks=CeleryTaskQueue(make_celery(settings), database),
        notifier=Notifier(settings, clock),
        audit=AuditService(database),
        checks=checks,
        divergence=DivergenceService(
            database=database,
            venue=alpaca,
            forecaster=judge,
            judged_bars=_past_bars(settings, chosen, alpaca),
        ),
        accounts=make_accounts(settings, database, clock),
    )


def build_accounts(settings: Settings) -> Accounts:
    """The accounts alone: no venue, no queue. Migrates the database."""
    clock = WallClock()
    return make_accounts(settings, _database(settings, clock), clock)


def build_research(settings: Settings) -> ResearchService:
    """Sweeps, walk-forwards and searches on stored bars or files: no venue, no queue. Migrates the database."""
    clock = WallClock()
    database = _database(settings, clock)
    verdicts = VerdictService(database, TrialLedger(database), clock)
    return _research(settings, database, verdicts, ParamFiles(settings.params_dir), clock, new_york_calendar)


def _research(
    settings: Settings,
    database: DatabaseService,
    verdicts: VerdictService,
    params: ParamFiles,
    clock: Clock,
    calendar: Callable[[], TradingCalendar],
) -> ResearchService:
    def read_file(path: Path, symbols: tuple[str, ...]) -> dict[str, BarSeries]:
        return load_bars(path, symbols=symbols).bars

    find = StrategyService(settings.strategies_dir).find
    bench = ResearchBench(database, read_file=read_file, find=find, watchlist=settings.watchlist, clock=clock)
    journal = study_journal(settings.opt_journal or str(settings.state_dir / "studies"))
    windows = partial(
        Windows,
        bench=bench,
        store=database,
        judge=verdicts,
        limits=settings.limits,
        policy=settings.policy,
        calendar=calendar,
    )
    searches: dict[str, Any] = {"bench": bench, "clock": clock, "save": database.save_optimizer_results}
    kinds: dict[str, Callable[[Mapping[str, Any]], Job]] = {
        "sweep": lambda request: SweepJob(request, threads=settings.opt_threads, judge=verdicts, **searches),
        "optimize": lambda request: OptimizeJob(request, storage=journal, judge=verdicts, **searches),
        "walk_forward": lambda request: walk_forward_job(request, windows, params),
    }
    return ResearchService(database, kinds=kinds, owner=this_process(), is_alive=is_alive)


def build_backup(settings: Settings) -> BackupService:
    """Backup and restore: no venue, no queue. Migrates the database."""
    clock = WallClock()
    database = open_without_migrating(settings)
    database.migrate()
    places = {
        "models": Place(directory=settings.models_dir),
        "best_params": Place(directory=settings.params_dir),
        "strategies": Place(directory=settings.strategies_dir),
        "state": Place(directory=settings.state_dir, only=("risk_state.json", "answers", "studies")),
    }
    return BackupService(database, places=places, state_dir=settings.state_dir, version=code_version(), clock=clock)


def build_kill_switch(settings: Settings) -> KillSwitch:
    """The kill switch alone. Touches neither the queue nor, by building it, the database."""
    clock = WallClock()
    database = open_without_migrating(settings)
    alpaca = _venue(settings, database, clock)
    # Not the strategy's limits: the switch must work when the strategy's file does not.
    return KillSwitch(risk=_risk(settings, database, alpaca, clock, settings.limits), venue=alpaca)


def build_trade_updates(settings: Settings) -> TradeUpdates:
    """The listener to the venue's trade updates, and all that it needs. Migrates the database."""
    clock = WallClock()
    database = _database(settings, clock)
    alpaca = _venue(settings, database, clock)

    def connect() -> AlpacaStream:
        return AlpacaStream(
            key=settings.alpaca_api_key.get_secret_value(),
            secret=settings.alpaca_api_secret.get_secret_value(),
            url=settings.alpaca_trading_stream_url,
            paper=settings.alpaca_paper,
        )

    # Cycles send meanwhile: an order that has no answer yet is the business of its sender.
    reconcile = Reconciler(venue=alpaca, database=database, is_lost=lambda _: False).reconcile
    return TradeUpdates(connect=connect, venue=alpaca, database=database, reconcile=reconcile, clock=clock)


def build_guard(settings: Settings) -> GuardDuty:
    """The exit monitor, and all that it needs: neither queue nor models. Migrates the database."""
    clock = WallClock()
    database = _database(settings, clock)
    alpaca = _venue(settings, database, clock)
    turn = Turn(database)
    limits = _limits_of_holdings(settings, database)
    orders = ExitOrders(
        venue=alpaca,
        database=database,
        executor=Executor(venue=alpaca, database=database, gate=lambda: "the exit monitor enters nothing"),
        limits=limits,
        may_act=turn.may_act,
    )
    return GuardDuty(
        monitor=ExitMonitor(venue=alpaca, database=database, orders=orders, limits=limits),
        venue=alpaca,
        turn=turn,
        interval_seconds=settings.exit_monitor_seconds,
        follows_venue=settings.trading_mode is TradingMode.SIMULATED,
    )


def _limits_of_holdings(settings: Settings, database: DatabaseService) -> RiskLimits:
    """Those of the strategy that trades, else of the settings: holdings are protected whatever became of a strategy's file."""
    try:
        return rules_in_force(settings)[0]
    except ConfigurationError as fault:
        database.enqueue_alert(
            "protection",
            "The strategy cannot be read; the exit monitor protects holdings by RISK_STOP_LOSS_PCT and RISK_TAKE_PROFIT_PCT: "
            + fault.message,
        )
        return settings.limits


def open_without_migrating(settings: Settings) -> DatabaseService:
    """The database as it is, for those who must not wait for it or only look."""
    clock = WallClock()
    return DatabaseService(Database(settings.database_url), clock, journal=_journal(settings, clock))


def _database(settings: Settings, clock: Clock) -> DatabaseService:
    database = DatabaseService(
        Database(settings.database_url), clock, spool=settings.state_dir / "answers", journal=_journal(settings, clock)
    )
    database.migrate()
    database.enter_build(__version__)
    return database


def _journal(settings: Settings, clock: Clock) -> Journal:
    config = settings.behaviour()
    return Journal(
        clock=clock,
        code_version=code_version(),
        config_digest=digest(json.dumps(config, sort_keys=True).encode())[:16],
        config=config,
        anchor=Anchor(settings.state_dir / "audit_head.txt"),
        secrets=[one for one in secrets_of(settings) if len(one) >= SHORTEST_SECRET],
    )


def _risk(
    settings: Settings, database: DatabaseService, alpaca: AlpacaService, clock: Clock, limits: RiskLimits
) -> RiskManager:
    return RiskManager(
        database=database,
        limits=limits,
        state_dir=settings.state_dir,
        clock=clock,
        health=alpaca.health,
    )


def chosen_strategy(settings: Settings) -> Chosen | SharedAccount | None:
    """What trades: one strategy or several that share the account, None for the main job. Raises ConfigurationError naming
    what is wrong and its mend."""
    if settings.strategy == MODEL_DRIVEN:
        return None
    try:
        chosen = choose(StrategyService(settings.strategies_dir), settings.strategy, settings.strategy_parameters)
    except InvalidInput as fault:
        name = "STRATEGY" if fault.code in {"strategy_unknown", "strategy_unsound"} else f"STRATEGY={settings.strategy}"
        raise ConfigurationError(f"{name}: {fault.message}") from None
    if chosen.uses_models and settings.strategy_timeframe != DAILY:
        raise ConfigurationError(
            f"STRATEGY={settings.strategy} uses forecasts of daily bars; unset STRATEGY_TIMEFRAME={settings.strategy_timeframe}"
        )
    return chosen


def _traded(chosen: Chosen | SharedAccount | None) -> list[tuple[str, Mapping[str, float]]]:
    """The strategies of the account with their parameters."""
    if chosen is None:
        return [(MODEL_DRIVEN, {})]
    parts = [one for one, _ in chosen.parts] if isinstance(chosen, SharedAccount) else [chosen]
    return [(one.strategy.name, one.values) for one in parts]


def uses_models(settings: Settings) -> bool:
    """Whether what trades asks the models for forecasts."""
    chosen = chosen_strategy(settings)
    return chosen is None or chosen.uses_models


def rules_in_force(settings: Settings) -> tuple[RiskLimits, Policy]:
    """Limits and policy, with the thresholds and exits of the strategy that trades."""
    return _rules(settings, chosen_strategy(settings))


def _rules(settings: Settings, chosen: Chosen | SharedAccount | None) -> tuple[RiskLimits, Policy]:
    return chosen.rules(settings.limits, settings.policy) if chosen else (settings.limits, settings.policy)


def _live_bars(settings: Settings, chosen: Chosen | SharedAccount | None, venue: AlpacaService) -> LiveBars | None:
    if chosen is None or settings.strategy_timeframe == DAILY:
        return None
    return MarketCollector(venue, timeframe=settings.strategy_timeframe, count=chosen.memory).bars


def _past_bars(settings: Settings, chosen: Chosen | SharedAccount | None, venue: AlpacaService) -> JudgedBars | None:
    """What a strategy of intraday bars saw in past sessions."""
    if chosen is None or settings.strategy_timeframe == DAILY:
        return None

    def bars(until: datetime, sessions: int) -> dict[str, BarSeries]:
        count = chosen.memory + sessions * MINUTES_A_SESSION
        return MarketCollector(venue, timeframe=settings.strategy_timeframe, count=count).bars(until)

    return bars


def _history_days(chosen: Chosen | SharedAccount | None) -> int:
    """Calendar days that hold the sessions a strategy of daily bars needs, holidays included."""
    return max(FORECAST_DAYS, chosen.memory * 3 // 2 + 30 if chosen else 0)


def _venue(
    settings: Settings, database: DatabaseService, clock: Clock, chosen: Chosen | SharedAccount | None = None
) -> AlpacaService:
    simulated = settings.trading_mode is TradingMode.SIMULATED
    wire = AlpacaWire(TokenBucket(SIMULATED_REQUESTS_PER_MINUTE if simulated else settings.alpaca_requests_per_minute))
    key, secret = settings.alpaca_api_key.get_secret_value(), settings.alpaca_api_secret.get_secret_value()
    broker = AlpacaBroker(
        key=key,
        secret=secret,
        url=settings.alpaca_trading_url,
        paper=settings.alpaca_paper,
        timeout_seconds=settings.alpaca_timeout_seconds,
        wire=wire,
    )
    data = AlpacaData(
        key=key,
        secret=secret,
        url=settings.alpaca_data_url,
        feed=settings.alpaca_data_feed,
        timeout_seconds=settings.alpaca_timeout_seconds,
        wire=wire,
        calendar=broker.calendar,
    )
    return AlpacaService(
        broker=broker,
        data=data,
        database=database,
        clock=clock,
        symbols=settings.watchlist,
        mode=settings.trading_mode.value,
        url=settings.alpaca_trading_url,
        health=wire.health,
        account_id=settings.alpaca_account_id,
        history_days=_history_days(chosen),
    )
