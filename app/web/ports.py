"""The services as the API sees them. `app.wiring` supplies the real ones, tests supply fakes.

Records leave the database as frozen dataclasses; the API turns whatever they hold into JSON (`app.web.wire`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from app.config import Settings
from app.domain.bar import BarSeries, Snapshot
from app.domain.portfolio import Position
from app.domain.ports import Account, VenueClock
from app.domain.records import BacktestRecord
from app.domain.research import ResearchRun
from app.engine.decision import Sleeve, SymbolRecord
from app.risk.limits import Policy
from app.services.accounts.accounts import Accounts


class Venue(Protocol):
    """The venue behind AlpacaService. Every call may raise a `VenueError` kind."""

    def account(self) -> Account: ...  # noqa: D102 - as app.domain.ports.Broker
    def positions(self) -> dict[str, Position]: ...  # noqa: D102
    def clock(self) -> VenueClock: ...  # noqa: D102
    def snapshots(self, symbols: Sequence[str]) -> Mapping[str, Snapshot]: ...  # noqa: D102

    def recent_bars(self, symbol: str, *, timeframe: str, limit: int, end: datetime) -> BarSeries:
        """The newest `limit` complete bars known by `end`."""
        ...

    def test_connection(self) -> Mapping[str, Any]:
        """ok, venue (host), mode, account_id, latency_ms, clock; never raises for an unreachable venue."""
        ...


class Trading(Protocol):
    """The decision, without sending anything."""

    def signal(self, symbol: str) -> SymbolRecord:
        """What would be decided for `symbol` now. NotFound: not on the watch list."""
        ...

    def portfolio_view(self) -> Mapping[str, Any]:
        """Cash, positions and gains as booked."""
        ...


class Risk(Protocol):
    """The trading state and the limits."""

    def status(self) -> Mapping[str, Any]:
        """trading_state, cause, since, until, limits with the distance to each, daily_return, drawdown, exposure,
        positions_used."""
        ...

    def halt(self, actor: str) -> object:
        """Stop taking risk now."""
        ...

    def resume(self, actor: str, reason: str = "", *, accept_losses: bool = False) -> object:
        """Trade again. Conflict: a limit still forbids it, or the kill switch asks for a reason."""
        ...

    def enable(self, symbol: str, actor: str, reason: str = "") -> object:
        """Allow entries in a disabled symbol. Conflict: it is not disabled."""
        ...


class Protection(Protocol):
    """Who enforces the exits of the holdings."""

    def status(self) -> object:
        """As of the last look of the exit monitor."""
        ...


class Kill(Protocol):
    """The kill switch."""

    def engage(self, actor: str, reason: str) -> object:
        """Throw it: file, database, cancels. Never raises for what does not answer."""
        ...


class Records(Protocol):
    """The database's read side. Newest first; unknown ids raise NotFound."""

    def ping(self) -> None: ...  # noqa: D102
    def cycles(self, limit: int) -> Sequence[object]: ...  # noqa: D102
    def latest_cycle(self) -> object | None: ...  # noqa: D102
    def newest_slot_done(self) -> datetime | None: ...  # noqa: D102
    def lease(self, name: str) -> object | None: ...  # noqa: D102
    def orders(self, limit: int, symbol: str | None = None) -> Sequence[object]: ...  # noqa: D102
    def fills(self, limit: int, symbol: str | None = None) -> Sequence[object]: ...  # noqa: D102
    def equity_curve(self, since: datetime | None = None, limit: int = 1000) -> Sequence[object]: ...  # noqa: D102
    def reconciliations(self, limit: int) -> Sequence[object]: ...  # noqa: D102
    def task(self, task_id: str) -> object: ...  # noqa: D102
    def tasks(self, limit: int, kind: str | None = None) -> Sequence[object]: ...  # noqa: D102
    def backtest(self, backtest_id: str) -> BacktestRecord: ...  # noqa: D102
    def backtests(self, limit: int, before: datetime | None = None) -> Sequence[BacktestRecord]: ...  # noqa: D102

    def decisions(
        self, symbol: str | None = None, cycle_id: str | None = None, limit: int = 100, before: datetime | None = None
    ) -> Sequence[object]:
        """One record per symbol and cycle, decided before `before`."""
        ...


class Audit(Protocol):
    """The audit log."""

    def explain(self, name: str) -> object:
        """The story of an order. NotFound: the log knows no such order."""
        ...


class Verdicts(Protocol):
    """What the evidence says of results."""

    def of_backtest(self, backtest_id: str) -> Mapping[str, Any]:
        """The verdict on a backtest as plain values. NotFound: none was reached."""
        ...


class Models(Protocol):
    """What is known about the trained models."""

    def status(self) -> Sequence[object]:
        """One record per model version in use."""
        ...


class Research(Protocol):
    """Runs of sweeps, walk-forwards and searches. Unknown ids raise NotFound."""

    def runs(self, limit: int) -> Sequence[object]: ...  # noqa: D102
    def run(self, run_id: str) -> ResearchRun: ...  # noqa: D102
    def results(self, limit: int) -> Sequence[object]: ...  # noqa: D102

    def submit(self, kind: str, request: Mapping[str, Any], ring: Callable[[str], None]) -> str:
        """Note a run for workers and ring for them; its id. InvalidInput, NotFound: what is wrong with the request. Conflict:
        too many are not over. TryAgain: the broker cannot be reached, and nothing was begun."""
        ...

    def backtest(self, run: ResearchRun) -> BacktestRecord | None:
        """What a walk-forward that is done is kept as; None for other runs."""
        ...

    def cancel(self, run_id: str) -> object:
        """Nobody works on it any more."""
        ...


class TaskQueue(Protocol):
    """Long work, done elsewhere."""

    def enqueue(self, kind: str, params: dict[str, Any], *, key: str | None = None) -> str:
        """The task's id, the same one for the same key. Conflict: the queue is full. TryAgain: the broker cannot be reached."""
        ...

    def ring_research(self, run_id: str, workers: int = 1) -> None:
        """Have so many workers take up a run. TryAgain: the broker cannot be reached."""
        ...

    def ping(self) -> None:
        """Returns when the broker answers within a second; else TryAgain."""
        ...


class Services(Protocol):
    """What `app.wiring.build` returns, as far as the API uses it."""

    @property
    def settings(self) -> Settings: ...  # noqa: D102
    @property
    def policy(self) -> Policy: ...  # noqa: D102
    @property
    def sleeves(self) -> tuple[Sleeve, ...]: ...  # noqa: D102
    @property
    def alpaca(self) -> Venue: ...  # noqa: D102
    @property
    def trading(self) -> Trading: ...  # noqa: D102
    @property
    def risk(self) -> Risk: ...  # noqa: D102
    @property
    def kill(self) -> Kill: ...  # noqa: D102
    @property
    def protection(self) -> Protection: ...  # noqa: D102
    @property
    def database(self) -> Records: ...  # noqa: D102
    @property
    def ai(self) -> Models: ...  # noqa: D102
    @property
    def audit(self) -> Audit: ...  # noqa: D102
    @property
    def verdicts(self) -> Verdicts: ...  # noqa: D102
    @property
    def research(self) -> Research: ...  # noqa: D102
    @property
    def tasks(self) -> TaskQueue: ...  # noqa: D102
    @property
    def accounts(self) -> Accounts: ...  # noqa: D102 - the real one: there is no second way to tell who may do what
