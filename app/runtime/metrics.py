"""Business metrics. Services call the `observe_...` functions; `render` is the page Prometheus reads."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections import Counter as Counts
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest, start_http_server
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from app.domain.order import Side
from app.domain.trading_state import TradingState
from app.runtime import metric_series as series

if TYPE_CHECKING:  # it brings numpy along, which the parents of worker pools do without
    from app.engine.decision import SymbolRecord

ORDER_OUTCOMES = series.ORDER_OUTCOMES
DIRECTORY_VARIABLE = series.DIRECTORY_VARIABLE
Money = Decimal | float


def observe_cycle(outcome: str, seconds: float, *, finished_at: float | None = None) -> None:
    """A trading cycle ended. seconds: its duration. finished_at: venue time, seconds since 1970."""
    series.CYCLES.labels(outcome).inc()
    series.CYCLE_SECONDS.labels(outcome).observe(seconds)
    if finished_at is not None:
        series.CYCLE_FINISHED.set(finished_at)


def observe_silence(mode: str, seconds: float) -> None:
    """Session time, by the venue's clock, since a trading cycle did its work; 0 while the venue is closed."""
    series.CYCLE_SILENCE.labels(mode).set(seconds)


def observe_portfolio(
    mode: str,
    *,
    equity: Money | None = None,
    cash: Money | None = None,
    daily_return: float | None = None,
    drawdown: float | None = None,
    exposure: float | None = None,
    positions: int | None = None,
    trading_state: TradingState | None = None,
) -> None:
    """The book after a cycle; what is not given keeps its last reading. mode: the venue's. Money in US dollars, fractions as
    fractions."""
    readings = (
        (series.PORTFOLIO_VALUE, equity),
        (series.CASH, cash),
        (series.DAILY_RETURN, daily_return),
        (series.DRAWDOWN, drawdown),
        (series.EXPOSURE, exposure),
        (series.POSITIONS, positions),
        (series.TRADING_STATE, trading_state),
    )
    for gauge, reading in readings:
        if reading is not None:
            gauge.labels(mode).set(float(reading))


def observe_decisions(records: Iterable[SymbolRecord]) -> None:
    """One decision's records: counts by reason, and the confidence of each forecast there was."""
    found = tuple(records)
    for reason, count in Counts(record.reason for record in found).items():
        series.DECISIONS.labels(reason.code).inc(count)
    unjudged = sum(math.isnan(record.expected_return) for record in found)
    series.PREDICTIONS.labels("none").inc(unjudged)
    series.PREDICTIONS.labels("judged").inc(len(found) - unjudged)
    for record in found:
        if 0.0 <= record.confidence <= 1.0:  # not-a-number compares false: no forecast, no reading
            series.CONFIDENCE.observe(record.confidence)


def observe_limits(mode: str, rows: Iterable[tuple[str, float, float]]) -> None:
    """Each limit's name, its reading and the limit, in the unit of the limit; a reading that is not there keeps its last."""
    for name, reading, limit in rows:
        series.RISK_LIMIT.labels(mode, name).set(limit)
        if not math.isnan(reading):
            series.RISK_READING.labels(mode, name).set(reading)


def observe_books(mode: str, differences: int) -> None:
    """Our books were compared with the venue's: how many differences nothing explains."""
    series.BOOK_DIFFERENCES.labels(mode).set(differences)


def observe_prices(mode: str, *, newest: float, oldest: float) -> None:
    """Ages in seconds of the newest and the oldest price that a cycle decided on."""
    series.PRICE_AGE.labels(mode, "newest").set(newest)
    series.PRICE_AGE.labels(mode, "oldest").set(oldest)


def observe_forecast_quality(mode: str, *, hits: float, error_ratio: float, symbols: int) -> None:
    """How the forecasts of the session compare with what the prices did so far, over so many symbols."""
    series.FORECAST_HITS.labels(mode).set(hits)
    series.FORECAST_ERROR.labels(mode).set(error_ratio)
    series.FORECAST_SYMBOLS.labels(mode).set(symbols)


def observe_bars(timeframe: str, count: int) -> None:
    """So many bars were received."""
    series.BARS.labels(timeframe).inc(count)


def observe_waiting(mode: str, *, messages: Sequence[float], tasks: Sequence[float]) -> None:
    """The ages in seconds of what nobody has taken up: messages to people, and tasks."""
    for count, wait, ages in (
        (series.OUTBOX_WAITING, series.OUTBOX_WAIT, messages),
        (series.TASKS_WAITING, series.TASK_WAIT, tasks),
    ):
        count.labels(mode).set(len(ages))
        wait.labels(mode).set(max(ages, default=0.0))


def observe_turn(role: str) -> None:
    """The process went through its loop; what it uses of the machine is read on the way. Wall time, as whoever watches it
    reads the wall's clock too."""
    series.TURN.labels(role).set(time.time())
    observe_machine(role)


def observe_fill(side: Side, value: Money) -> None:
    """A fill was booked. value: quantity times price, US dollars."""
    series.FILLS.labels(side.value).inc()
    series.FILLED_VALUE.labels(side.value).inc(abs(float(value)))


def observe_daily_volume(mode: str, values: Mapping[Side, Money]) -> None:
    """Value of all fills of the venue's present day by side, US dollars; a side not given had none."""
    for side in Side:
        series.DAILY_VOLUME.labels(mode, side.value).set(float(values.get(side, 0)))


def observe_order(outcome: str) -> None:
    """How an order of a committed decision fared: one of ORDER_OUTCOMES."""
    series.ORDERS.labels(outcome).inc()


def expect_tasks(kinds: Iterable[str]) -> None:
    """Let the counts of these kinds begin at nought, for the reason told above."""
    for kind in kinds:
        for state in ("queued", "running", "done", "failed"):
            series.TASKS.labels(kind, state)


def observe_task(kind: str, state: str, seconds: float | None = None) -> None:
    """A task reached `state`: queued, running, done or failed. seconds: of work, where it ended."""
    series.TASKS.labels(kind, state).inc()
    if seconds is not None:
        series.TASK_SECONDS.labels(kind).observe(seconds)


def observe_message_discarded(reason: str) -> None:
    """A message in the task queue was thrown away unread, unknown, of another version, or deadly."""
    series.DISCARDED.labels(reason).inc()


def observe_venue_call(operation: str, outcome: str, seconds: float) -> None:
    """A call to the venue ended. outcome: ok or the error's code."""
    series.VENUE_CALLS.labels(operation, outcome).inc()
    series.VENUE_SECONDS.labels(operation).observe(seconds)


def observe_stream(*, listening: bool, heard_seconds_ago: float | None = None) -> None:
    """How the connection to the trade updates stands."""
    series.STREAM_LISTENING.labels("trade_updates").set(listening)
    if heard_seconds_ago is not None:
        series.STREAM_SILENCE.labels("trade_updates").set(heard_seconds_ago)


def observe_stream_event(event: str) -> None:
    """A trade update arrived; mute: a connection that told nothing was given up."""
    series.STREAM_EVENTS.labels(event).inc()


def observe_guard(outcome: str) -> None:
    """The exit monitor looked, failed to, or waited for its turn."""
    series.GUARD_LOOKS.labels(outcome).inc()


def observe_protection(*, watched: int, unprotected: int, seconds: float) -> None:
    """Holdings that the exit monitor watches, those that nobody protects, and for how long that was so since the last look,
    summed over them."""
    series.GUARDED.labels("watched").set(watched)
    series.GUARDED.labels("unprotected").set(unprotected)
    series.UNPROTECTED_SECONDS.inc(seconds)


def observe_divergence(mode: str, decisions: int) -> None:
    """How many decisions of the newest session differ from those the backtester makes of the same recordings."""
    series.DIVERGENCE.labels(mode).set(decisions)


def observe_alert(outcome: str) -> None:
    """A message to people was sent, failed or given up."""
    series.ALERTS.labels(outcome).inc()


def observe_machine(role: str) -> None:
    """Memory and processor time of this process, load, memory and disk of the machine; skips what the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        series.MEMORY.labels(role).set(pages * os.sysconf("SC_PAGE_SIZE"))
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                series.MEMORY_FREE.labels(role).set(int(line.split()[1]) * 1024)
        series.LOAD.labels(role).set(os.getloadavg()[0])
        series.DISK_FREE.labels(role).set(shutil.disk_usage(".").free)
    except (OSError, ValueError, IndexError):
        pass
    used = os.times()
    series.CPU.labels(role).set(used.user + used.system)


def render(*more: CollectorRegistry) -> tuple[bytes, str]:
    """The metrics page and its content type. more: registries of this process to add; with a shared directory they are
    in it already."""
    if shared_directory() is not None:
        return generate_latest(_all_processes()), CONTENT_TYPE_LATEST
    return b"".join(generate_latest(registry) for registry in (REGISTRY, *more)), CONTENT_TYPE_LATEST


def serve(port: int, address: str = "127.0.0.1") -> None:
    """Show the metrics page on a port of its own, from a thread of this process (all but the API). port 0: do not. Processes of
    one machine that share their metrics need one page: whoever is first has it."""
    if not port:
        return
    try:
        start_http_server(port, addr=address, registry=REGISTRY if shared_directory() is None else _all_processes())
    except OSError as fault:
        structlog.get_logger().warning("metrics_not_served", port=port, error=str(fault))


def shared_directory() -> Path | None:
    """Where the processes of this installation share their metrics, or None when each is on its own."""
    name = os.environ.get(DIRECTORY_VARIABLE)
    return Path(name) if name else None


def forget_process(pid: int) -> None:
    """A process of ours ended: drop its live readings; its counts stay."""
    if shared_directory() is not None:
        mark_process_dead(pid)  # type: ignore[no-untyped-call]


def _all_processes() -> CollectorRegistry:
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
