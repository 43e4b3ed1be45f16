"""The services behind the API, in memory: same signatures and errors as the real ones."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from app.config import Settings
from app.domain.bar import BarSeries, Snapshot
from app.domain.errors import Conflict, NotFound, TryAgain
from app.domain.order import Side
from app.domain.portfolio import Position
from app.domain.ports import Account, VenueClock
from app.domain.reason import Reason
from app.domain.records import BacktestRecord
from app.domain.research import OptimizerResult, ResearchRun, RunState
from app.domain.trading_state import TradingState
from app.engine.decision import Sleeve, SymbolRecord
from app.risk.limits import Policy
from app.runtime.clock import WallClock
from app.services.accounts.accounts import Accounts
from app.services.accounts.building import make_accounts
from app.services.accounts.passwords import Passwords
from app.services.audit.audit_service import Story, StoryLine
from app.services.database_service import DatabaseService
from app.services.guard.protection import Protection, ProtectionStatus
from app.storage.database import Database
from tests.reports.made import stored

NOW = datetime(2026, 3, 4, 15, 30, tzinfo=UTC)
NAN = float("nan")


def record(symbol: str = "AAPL", **changes: Any) -> SymbolRecord:
    values: dict[str, Any] = {
        "symbol": symbol,
        "reason": Reason.BUY_SIGNAL,
        "price": 190.25,
        "expected_return": 0.012,
        "confidence": 0.81,
        "volatility": 0.015,
        "members": (0.01, 0.014, NAN),
        "held_quantity": Decimal(0),
        "side": Side.BUY,
        "quantity": Decimal(52),
        "sizing": {"position": 52.5, "exposure": float("inf")},
        "sizing_bound": "position",
    }
    return SymbolRecord(**(values | changes))


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleRow:
    cycle_id: str
    slot: datetime
    outcome: str
    timings: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    cycle_id: str
    symbol: str
    reason: str
    expected_return: float | None
    decided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyRow:
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    id: str
    kind: str
    state: str
    params: dict[str, Any]
    result: dict[str, Any] | None = None
    error: str | None = None


DIVERGENCE = TaskRow(
    id="t-divergence",
    kind="divergence",
    state="done",
    params={},
    result={
        "first": "2026-03-05",
        "last": "2026-03-05",
        "cycles": 39,
        "decisions": 1248,
        "differing_decisions": 0,
        "agrees": True,
        "live_gain": "12.50",
        "backtest_gain": "13.00",
        "gap": "-0.50",
        "amounts": {"data": "0", "signal": "0", "risk": "0", "fill": "-0.30", "fee": "-0.20", "timing": "0"},
        "by_symbol": {"fill": {"AAPL": "-0.30"}, "fee": {"AAPL": "-0.20"}},
        "correlation": None,
        "correlation_reached": None,
        "days": [],
        "differences": [],
        "difference_count": 0,
        "unmatched": [],
        "unjudged_forecasts": 0,
        "notes": [],
    },
)


class FakeVenue:
    """Knows AAPL, MSFT and BRK.B; `fault` makes every call raise it."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.is_open = True
        self.now = NOW
        self.prices = {"AAPL": 190.25, "MSFT": NAN, "BRK.B": 401.0, "BTC/USD": 60_000.0}
        self.held = {
            "AAPL": Position(symbol="AAPL", quantity=Decimal(10), average_entry_price=Decimal("180.10"), opened_at=NOW),
            "MSFT": Position(symbol="MSFT", quantity=Decimal(3), average_entry_price=Decimal("300")),
        }

    def _answer(self) -> None:
        if self.fault is not None:
            raise self.fault

    def account(self) -> Account:
        self._answer()
        return Account(
            account_id="PA1",
            cash=Decimal("98123.45"),
            equity=Decimal("100025.95"),
            previous_close_equity=Decimal(100_000),
            buying_power=Decimal("98123.45"),
            trading_blocked=False,
        )

    def positions(self) -> dict[str, Position]:
        self._answer()
        return dict(self.held)

    def snapshots(self, symbols: Any) -> dict[str, Snapshot]:
        self._answer()
        return {s: Snapshot(symbol=s, price=self.prices[s], priced_at=NOW) for s in symbols if s in self.prices}

    def recent_bars(self, symbol: str, *, timeframe: str, limit: int, end: datetime) -> BarSeries:
        self._answer()
        count = min(limit, 20) if symbol in self.prices else 0
        last = int(end.timestamp())
        stamps = np.array([last - 86_400 * (count - i) for i in range(count)], dtype=np.int64)
        closes = np.full(count, self.prices.get(symbol, NAN))
        return BarSeries(
            symbol=symbol,
            timeframe=timeframe,
            timestamp=stamps,
            known_at=stamps + 60,
            open=closes,
            high=closes,
            low=closes,
            close=closes,
            volume=np.full(count, 1e6),
        )

    def clock(self) -> VenueClock:
        self._answer()
        return VenueClock(
            now=self.now, is_open=self.is_open, next_open=NOW + timedelta(days=1), next_close=NOW + timedelta(hours=5)
        )

    def test_connection(self) -> dict[str, Any]:
        if self.fault is not None:
            return {"ok": False, "venue": "127.0.0.1:5801", "mode": "simulated", "error": str(self.fault)}
        return {
            "ok": True,
            "venue": "127.0.0.1:5801",
            "mode": "simulated",
            "account_id": "PA1",
            "latency_ms": 3.2,
            "clock": self.clock(),
        }


class FakeTrading:
    def __init__(self) -> None:
        self.watchlist = {
            "AAPL": record(),
            "MSFT": record("MSFT", expected_return=NAN, confidence=NAN, reason=Reason.NO_FORECAST),
        }

    def signal(self, symbol: str) -> SymbolRecord:
        if symbol not in self.watchlist:
            raise NotFound(f"{symbol} is not on the watch list", code="unknown_symbol")
        return self.watchlist[symbol]

    def portfolio_view(self) -> dict[str, Any]:
        return {"cash": Decimal("98123.45"), "positions": [], "realized": Decimal(0)}


class FakeRisk:
    def __init__(self) -> None:
        self.state = TradingState.ACTIVE
        self.actors: list[str] = []
        self.forbidden = False

    def status(self) -> dict[str, Any]:
        return {
            "trading_state": self.state,
            "cause": "none",
            "since": NOW,
            "until": None,
            "limits": {"max_exposure": {"limit": 0.8, "used": 0.1, "distance": 0.7}},
            "daily_return": 0.0003,
            "drawdown": 0.0,
            "exposure": 0.02,
            "positions_used": 2,
        }

    def halt(self, actor: str) -> None:
        self.actors.append(actor)
        self.state = TradingState.HALTED

    def enable(self, symbol: str, actor: str, reason: str = "") -> None:
        self.actors.append(f"{actor} {symbol} {reason}")

    def resume(self, actor: str, reason: str = "", *, accept_losses: bool = False) -> None:
        if self.forbidden:
            raise Conflict("the daily loss limit holds until tomorrow", code="limit_holds", until=NOW)
        self.actors.append(actor)
        self.state = TradingState.ACTIVE


class FakeKill:
    def __init__(self) -> None:
        self.thrown: list[tuple[str, str]] = []

    def engage(self, actor: str, reason: str) -> dict[str, Any]:
        self.thrown.append((actor, reason))
        return {"reason": reason, "file_written": True, "recorded": True, "cancelled": ["v-1"], "faults": []}


class FakeDatabase:
    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.cycle: CycleRow | None = CycleRow(cycle_id="c-1", slot=NOW, outcome="completed", timings={"decide": 0.01})
        self.tasks_by_id: dict[str, TaskRow] = {}
        self.asked: list[tuple[str, Any]] = []

    def ping(self) -> None:
        if self.fault is not None:
            raise self.fault

    def decisions(self, symbol: Any = None, cycle_id: Any = None, limit: int = 100, before: Any = None) -> list[DecisionRow]:
        self.asked.append(("decisions", (symbol, cycle_id, limit, before)))
        assert before is None or before.tzinfo is not None
        rows = [
            DecisionRow(cycle_id="c-1", symbol=s, reason="no_forecast", expected_return=NAN, decided_at=NOW)
            for s in ("AAPL", "MSFT")
        ]
        return [r for r in rows if symbol in (None, r.symbol) and cycle_id in (None, r.cycle_id)][:limit]

    def cycles(self, limit: int) -> list[CycleRow]:
        return [self.cycle][:limit] if self.cycle else []

    def latest_cycle(self) -> CycleRow | None:
        return self.cycle

    def newest_slot_done(self) -> datetime | None:
        return self.cycle.slot if self.cycle else None

    def lease(self, name: str) -> None:
        return None

    def _money(self, limit: int, symbol: str | None) -> list[MoneyRow]:
        rows = [MoneyRow(symbol="AAPL", side=Side.BUY, quantity=Decimal("10"), price=Decimal("180.10"), at=NOW)]
        return [r for r in rows if symbol in (None, r.symbol)][:limit]

    def orders(self, limit: int, symbol: str | None = None) -> list[MoneyRow]:
        return self._money(limit, symbol)

    def fills(self, limit: int, symbol: str | None = None) -> list[MoneyRow]:
        return self._money(limit, symbol)

    def equity_curve(self, since: datetime | None = None, limit: int = 1000) -> list[dict[str, Any]]:
        return [{"at": NOW, "equity": Decimal("100025.95")}]

    def reconciliations(self, limit: int) -> list[dict[str, Any]]:
        row = {"subject": "AAPL", "ours": "10", "theirs": "9", "difference": "-1"}
        told = {"adopted": [], "explained": [{"activity_id": "1", "what": "fee"}], "unexplained": [row]}
        return [{"id": 7, "at": NOW, "recorded_at": NOW, "trigger": "cycle", "fills": 2, **told}][:limit]

    def task(self, task_id: str) -> TaskRow:
        try:
            return self.tasks_by_id[task_id]
        except KeyError:
            raise NotFound(f"no task {task_id}", code="unknown_task") from None

    def tasks(self, limit: int, kind: str | None = None) -> list[TaskRow]:
        return [DIVERGENCE] if kind == "divergence" else list(self.tasks_by_id.values())[:limit]

    def backtest(self, backtest_id: str) -> BacktestRecord:
        if backtest_id == "b-old":
            return BacktestRecord(backtest_id="b-old", created_at=NOW, params={}, performance=PERFORMANCE, result={})
        if backtest_id not in ("b-1", "b-2"):
            raise NotFound(f"no backtest {backtest_id}")
        return replace(BACKTEST, backtest_id=backtest_id)

    def backtests(self, limit: int, before: datetime | None = None) -> list[BacktestRecord]:
        self.asked.append(("backtests", (limit, before)))
        assert before is None or before.tzinfo is not None
        return [replace(BACKTEST, result=None)][:limit]


BACKTEST = stored(60)
PERFORMANCE = {"total_return": 0.05, "annualized_return": 0.2, "sharpe_ratio": 1.1, "max_drawdown": 0.04, "win_rate": 0.55}


class FakeQueue:
    """Keeps what was asked for; with `finishes` a task is done at once."""

    def __init__(self, database: FakeDatabase) -> None:
        self.database = database
        self.fault: Exception | None = None
        self.finishes = False
        self.accepted: list[tuple[str, dict[str, Any]]] = []
        self.rung: list[tuple[str, int]] = []

    def ring_research(self, run_id: str, workers: int = 1) -> None:
        self.ping()
        self.rung.append((run_id, workers))

    def enqueue(self, kind: str, params: dict[str, Any], *, key: str | None = None) -> str:
        self.ping()
        self.accepted.append((kind, params))
        task_id = f"t-{key or len(self.accepted)}"
        result = {"status": "completed", "performance": PERFORMANCE} if self.finishes else None
        state = "finished" if self.finishes else "queued"
        self.database.tasks_by_id[task_id] = TaskRow(id=task_id, kind=kind, state=state, params=params, result=result)
        return task_id

    def ping(self) -> None:
        if self.fault is not None:
            raise self.fault


class FakeAudit:
    def explain(self, name: str) -> Story:
        if name != "at-aapl-1":
            raise NotFound(f"the audit log knows no order {name}")
        line = StoryLine(
            seq=4, at=NOW, recorded_at=NOW, kind="sent", text="given out to be sent, claim 1", because=3, correlation_id="c-1",
            code_version="0.1.0", config_digest="ab",
        )  # fmt: skip
        order = {"symbol": "AAPL", "quantity": "10"}
        return Story(client_order_id=name, origin="decision", state="sent", order=order, legs=(), lines=(line,))


class FakeVerdicts:
    def of_backtest(self, backtest_id: str) -> dict[str, Any]:
        if backtest_id != "b-1":
            raise NotFound(f"no verdict on backtest {backtest_id}")
        check = {"name": "trades", "level": "WARN", "figure": 3.0, "threshold": 30.0, "sentence": "3 closed trades"}
        return {
            "backtest_id": "b-1",
            "at": NOW,
            "level": "WARN",
            "reasons": ["3 closed trades"],
            "trials": 7,
            "checks": [check, check | {"figure": None}],
        }


class FakeModels:
    def status(self) -> list[dict[str, Any]]:
        return [{"symbol": "AAPL", "version": "abc", "trained_through": NOW, "scores": {"mse_ratio": 0.998}}]


class FakeResearch:
    """One sweep that is done."""

    def __init__(self) -> None:
        heat = {
            "x": "fast", "x_values": [5.0, 8.0], "y": None, "y_values": [None], "best_over": [],
            "figures": {"sharpe": [[0.4, NAN]]},
        }  # fmt: skip
        self.begun: list[tuple[str, dict[str, Any]]] = []
        best = {"values": {"fast": 5}}
        self.row = ResearchRun(
            run_id="r-1", kind="sweep", state=RunState.DONE, request={"strategy": "rsi"}, dataset="d", chunks=2, done=2,
            result={"best": best, "heat_map": heat}, error=None, created_at=NOW, finished_at=NOW,
        )  # fmt: skip

    def runs(self, limit: int) -> list[ResearchRun]:
        return [self.row][:limit]

    def run(self, run_id: str) -> ResearchRun:
        if run_id != "r-1":
            raise NotFound(f"no research run {run_id}")
        return self.row

    def submit(self, kind: str, request: dict[str, Any], ring: Callable[[str], None]) -> str:
        self.begun.append((kind, request))
        ring("r-1")
        return "r-1"

    def backtest(self, run: ResearchRun) -> BacktestRecord | None:
        return None

    def cancel(self, run_id: str) -> ResearchRun:
        return self.run(run_id)

    def results(self, limit: int) -> list[OptimizerResult]:
        return [
            OptimizerResult(
                run_id="r-1", rank=1, created_at=NOW, strategy="rsi", parameters={"low": 30.0}, total_return=0.02,
                max_drawdown=0.1, sharpe=0.4, win_rate=None, is_best=True, figures={"train": {"sharpe": 1.0}},
            )
        ][:limit]  # fmt: skip


class FakeProtection:
    def status(self) -> ProtectionStatus:
        held = Protection(
            symbol="AAPL",
            quantity=Decimal("10.5"),
            protected_by="venue_and_guard",
            venue_quantity=Decimal(10),
            guard_quantity=Decimal("0.5"),
            selling_quantity=Decimal(0),
            unprotected_quantity=Decimal(0),
            stop_price=Decimal("171.10"),
            target_price=Decimal("198.11"),
            venue_stop_price=Decimal("171.10"),
            client_order_ids=("at-aapl-x1",),
            why="",
            offline="The venue holds a stop.",
        )
        return ProtectionStatus(guard_alive=True, guard_seen_at=NOW, positions=(held,))


@lru_cache(maxsize=8)
def _ledger(username: str, password: str) -> DatabaseService:
    """Accounts are the real ones, on one small database for all apps of this process with the same first account."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # thousands of commits that nobody needs after a power cut
    file = Path(tempfile.mkdtemp(dir=memory)) / "accounts.db"
    atexit.register(shutil.rmtree, file.parent, ignore_errors=True)
    service = DatabaseService(Database(f"sqlite:///{file}"), WallClock())
    service.migrate()
    return service


def real_accounts(settings: Settings) -> Accounts:
    """Accounts with a cheap hash, and the account of the settings."""
    first = settings.admin_username, settings.admin_password.get_secret_value()
    accounts = make_accounts(settings, _ledger(*first), WallClock(), Passwords(rounds=1, memory_kib=64))
    accounts.seed(*first)
    return accounts


@dataclass(slots=True)
class FakeServices:
    settings: Settings
    accounts: Accounts = field(init=False)
    alpaca: FakeVenue = field(default_factory=FakeVenue)
    trading: FakeTrading = field(default_factory=FakeTrading)
    risk: FakeRisk = field(default_factory=FakeRisk)
    kill: FakeKill = field(default_factory=FakeKill)
    protection: FakeProtection = field(default_factory=FakeProtection)
    database: FakeDatabase = field(default_factory=FakeDatabase)
    ai: FakeModels = field(default_factory=FakeModels)
    audit: FakeAudit = field(default_factory=FakeAudit)
    verdicts: FakeVerdicts = field(default_factory=FakeVerdicts)
    research: FakeResearch = field(default_factory=FakeResearch)
    sleeves: tuple[Sleeve, ...] = ()
    tasks: FakeQueue = field(init=False)

    @property
    def policy(self) -> Policy:
        return self.settings.policy

    def __post_init__(self) -> None:
        self.tasks = FakeQueue(self.database)
        self.accounts = real_accounts(self.settings)


BROKER_DOWN = TryAgain("the broker does not answer", code="broker_unreachable")
