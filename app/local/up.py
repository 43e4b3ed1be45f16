"""The course of `trader up`: start, train what is missing, then cycle after cycle until told to stop."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
from celery import Celery

from app.celery_config import CYCLE_TASK, UNFINISHED, CeleryTaskQueue, make_celery
from app.config import Settings
from app.domain.errors import AlphaTraderError, Conflict
from app.local.conductor import Conductor, Work
from app.local.installation import Installation, Interrupted
from app.local.run_report import RunReport
from app.local.session import Wish
from app.local.slots import Stop, StopKind
from app.local.terminal import Terminal, new_york
from app.runtime.clock import WallClock
from app.runtime.venue_time import VenueTime
from app.services.guard.watchdog import SILENT_CYCLES, Progress
from app.strategies.catalog import MODEL_DRIVEN
from app.tasks.learning import night_of
from app.wiring import chosen_strategy, uses_models

_TRAINING_ATTEMPTS = 3
_SILENT_SECONDS = 10.0  # however short the cycles
_FIRST_CYCLE_SECONDS = 180.0  # a fresh worker loads its models and compiles its rules


class Failed(AlphaTraderError):
    """The installation came up but does not do its work."""

    code = "installation_failed"


def up(chosen: Settings, wish: Wish, terminal: Terminal) -> int:
    """Run the installation until Ctrl-C, SIGTERM, the wished number of cycles or the end of the data; the exit code."""
    chosen_strategy(chosen)  # a wrong one ends it here, before anything is started
    with Installation(chosen, wish, terminal, at=WallClock().now()) as installation:
        try:
            return _Course(installation, wish, terminal).run()
        except Interrupted:
            terminal.say("stopping")
            return 0


class _Course:
    """One run of the installation, step by step."""

    def __init__(self, installation: Installation, wish: Wish, terminal: Terminal) -> None:
        self._here = installation
        self._wish = wish
        self._terminal = terminal
        self._conductor: Conductor | None = None

    def run(self) -> int:
        here = self._here
        here.prepare()
        self._greet()
        here.start_servers()
        self._settings = here.child_settings()
        log_to(self._settings.logs_dir / "trader.log")
        self._database = open_ledger(self._settings)
        self._celery: Celery = make_celery(self._settings)
        self._queue = CeleryTaskQueue(self._celery, self._database)
        here.when_restarted(self._after_restart)
        here.start_workers(self._worker_answers)
        if here.simulated:  # the clock stands until the conductor moves it: beat may come up beside the others
            here.start_beat()
            here.await_health("exchange")
        if self._settings.forecasts_file is None and uses_models(self._settings) and self._symbols_without_model():
            here.await_health("worker-learning")
            self._train_what_is_missing()
        if not here.simulated:
            here.start_beat()
        here.await_health()
        self._terminal.say(f"\n{here.url}" + ("  (login admin / password)" if self._default_login() else ""))
        self._report = RunReport(self._database, simulated=here.simulated)
        ended = "stopped"
        try:
            ended = self._simulate() if here.simulated else self._watch()
        finally:
            self._terminal.summary(self._report.summary(ended))
        if not self._report.completed():
            raise Failed("no cycle completed; see the reasons above and the logs")
        return 0

    def _greet(self) -> None:
        trades = self._here.settings
        if trades.strategy != MODEL_DRIVEN:
            given = f" with {trades.strategy_parameters}" if trades.strategy_parameters else ""
            self._terminal.say(f"trading by {trades.strategy}{given} on {trades.strategy_timeframe} bars")
        run = self._here.run
        if run is None:
            self._terminal.say(f"Alpha Trader, {self._here.settings.trading_mode} mode")
            return
        if run.archived:
            self._terminal.say(f"the run that was here is kept in {run.archived}")
        market = run.market
        source = market.data or f"a generated market (seed {market.seed})"
        verb = "resuming the saved run on" if run.resumed else "a new run on"
        self._terminal.say(f"Alpha Trader, SIMULATED: {verb} {source}, {len(market.symbols)} symbols")

    def _default_login(self) -> bool:
        if "admin_password" in self._settings.model_fields_set or not self._here.simulated:
            return False
        first = self._database.user(self._settings.admin_username)
        return first is None or first.password_by_settings  # else a person has given it another password

    def _worker_answers(self, node: str) -> bool:
        try:
            return bool(self._celery.control.ping(destination=[node], timeout=0.5))
        except OSError:
            return False

    def _after_restart(self, name: str) -> None:
        """A task dies with its worker: its record must not say `running` for hours. And a fresh process needs a moment."""
        if self._conductor:
            self._conductor.be_patient()
        if name == "worker-learning":
            for task in self._database.tasks(50):
                if task.state == "running":
                    with suppress(Conflict):
                        self._database.fail_task(task.task_id, "the process that ran it died; start it again")

    def _symbols_without_model(self) -> list[str]:
        """Symbols whose model is missing, refused, or knows more than the venue's clock. Files only: no booster is loaded."""
        from app.learning.model import ModelRefused
        from app.storage.model_files import ModelFiles

        at = self._here.exchange.now() if self._here.simulated else WallClock().now()
        files = ModelFiles(self._settings.models_dir)
        without = []
        for symbol in self._settings.watchlist:
            try:
                if files.load(symbol).model.trained_through > at:
                    without.append(symbol)
            except ModelRefused:
                without.append(symbol)
            self._here.pause(0.0)
        return without

    def _train_what_is_missing(self) -> None:
        """Train the symbols whose model is missing, refused or later than the venue's clock; the workers decide which."""
        for attempt in range(1, _TRAINING_ATTEMPTS + 1):
            task = self._follow("training models", self._queue.enqueue("train", {"only_unusable": True, "trigger": "start"}))
            if task.state == "done":
                trained = (task.result or {}).get("trained", 0)
                self._terminal.step("models", f"trained {trained}" if trained else "all usable as they are")
                return
            self._terminal.warn(f"training failed: {task.error}")
            if attempt < _TRAINING_ATTEMPTS and "died" not in str(task.error):
                break
        self._terminal.warn("going on with the models there are; symbols without one are held as they stand")

    def _follow(self, title: str, task_id: str) -> Any:
        """Show a task's progress until it has ended; its record."""
        with self._terminal.progress(title) as line:
            while (task := self._database.task(task_id)).state in UNFINISHED:
                line.show(task.done, task.total, task.message)
                self._here.pause(0.2)
            line.show(task.done or 1, task.total or 1, "")
        return task

    def _simulate(self) -> str:
        work = Work(
            newest_cycles=self._database.cycles,
            pause=self._here.pause,
            ring=self._ring,
            revive=lambda: self._here.revive("worker-trading", "beat"),
            night=self._night,
            ended=self._stop_ended,
        )
        conductor = Conductor(
            self._here.exchange,
            work,
            cycle_seconds=self._settings.trading_cycle_seconds,
            speed=self._wish.speed,
            nightly=self._settings.nightly_learning,
        )
        self._conductor = conductor
        return conductor.run(self._wish.cycles)

    def _stop_ended(self, stop: Stop, cycle: Any | None, seconds: float) -> None:
        if stop.kind is StopKind.CYCLE:
            self._terminal.cycle(self._report.add(stop.at, cycle, seconds))
        elif stop.kind is StopKind.CLOSE:
            self._terminal.closed(stop.at, self._report.equity)

    def _ring(self) -> None:
        with suppress(OSError, AlphaTraderError):
            self._celery.send_task(CYCLE_TASK, expires=20.0, retry=False)

    def _night(self, at: datetime) -> None:
        """Wait until the night's tuning and the training after it have ended; beat has sent both."""
        night = night_of(at).isoformat()
        for kind in ("tune", "train"):
            task_id = self._task_of_night(kind, night)
            if task_id is None:
                self._terminal.warn(f"{new_york(at)}  no {kind} was started tonight")
                return
            self._follow(f"{kind}, night of {night}", task_id)

    def _task_of_night(self, kind: str, night: str) -> str | None:
        deadline = time.monotonic() + 30.0
        while time.monotonic() < deadline:
            for task in self._database.tasks(50):
                if task.kind == kind and task.params.get("night") == night:
                    return str(task.task_id)
            self._here.pause(0.2)
        return None

    def _watch(self) -> str:
        """Wall time: beat rings by itself; show each cycle as it ends."""
        known = {cycle.cycle_id for cycle in self._database.cycles(20)}
        finished = 0
        tending = _Tending(self._settings, self._database, self._here)
        while self._wish.cycles is None or finished < self._wish.cycles:
            for cycle in reversed(self._database.cycles(20)):
                if cycle.cycle_id in known or cycle.state == "running":
                    continue
                known.add(cycle.cycle_id)
                seconds = (cycle.finished_at - cycle.started_at).total_seconds() if cycle.finished_at else 0.0
                self._terminal.cycle(self._report.add(cycle.slot, cycle, seconds))
                finished += 1
            tending.look()
            self._here.pause(1.0)
        return f"{finished} cycles are done"


class _Tending:
    """Replaces workers and beat that run, and answer, and let slot after slot go by. Each replacement that did not help
    doubles the patience: a machine that is merely slow must not lose its workers again and again."""

    def __init__(self, chosen: Settings, database: Any, here: Installation) -> None:
        venue = VenueTime(
            chosen.alpaca_trading_url,
            key=chosen.alpaca_api_key.get_secret_value(),
            secret=chosen.alpaca_api_secret.get_secret_value(),
        )
        self._progress = Progress(venue.reading, simulated=False)
        self._database = database
        self._here = here
        self._allowed = self._patience = max(_SILENT_SECONDS, SILENT_CYCLES * chosen.trading_cycle_seconds)
        self._look_at = time.monotonic()
        self._replace_at = self._look_at + max(_FIRST_CYCLE_SECONDS, self._allowed)

    def look(self) -> None:
        """Once in ten seconds at most."""
        if (now := time.monotonic()) < self._look_at:
            return
        self._look_at = now + min(10.0, self._allowed / 4)
        newest = self._database.newest_slot_done()
        if self._progress.silence(newest).total_seconds() <= self._allowed:
            if newest is not None:
                self._patience, self._replace_at = self._allowed, now
        elif now >= self._replace_at:
            self._patience *= 2
            self._replace_at = now + self._patience
            self._here.revive("worker-trading", "beat")


def log_to(path: Path) -> None:
    """Send this process's own log to a file: the terminal belongs to the person."""
    path.parent.mkdir(parents=True, exist_ok=True)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=path.open("a", buffering=1)),
    )


def open_ledger(chosen: Settings) -> Any:
    """The database service alone, schema up to date: the supervising process needs nothing else."""
    from app.services.database_service import DatabaseService
    from app.storage.database import Database

    service = DatabaseService(Database(chosen.database_url), WallClock())
    service.migrate()
    return service
