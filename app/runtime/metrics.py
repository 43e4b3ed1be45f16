"""Business metrics. Services call the `observe_...` functions; `render` is the page Prometheus reads.

Several processes share one page when PROMETHEUS_MULTIPROC_DIR names a directory before this module is imported: each
writes its own files there, and whoever renders adds them up. Gauges then tell the newest reading of any process.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter as Counts
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, start_http_server
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from app.domain.order import Side
from app.domain.trading_state import TradingState

if TYPE_CHECKING:  # it brings numpy along, which the parents of worker pools do without
    from app.engine.decision import SymbolRecord

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
Money = Decimal | float

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


if os.environ.get(DIRECTORY_VARIABLE):
    # The library opens its files as soon as a metric is made.
    Path(os.environ[DIRECTORY_VARIABLE]).mkdir(parents=True, exist_ok=True)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    # With a label there is no reading before the first: a process that never takes it would tell 0 for it.
    return Gauge(name, text, labels, multiprocess_mode="mostrecent")


PORTFOLIO_VALUE = _gauge("alpha_trader_portfolio_value_usd", "Equity after the last cycle, US dollars", "mode")
CASH = _gauge("alpha_trader_cash_usd", "Cash after the last cycle, US dollars", "mode")
DAILY_RETURN = _gauge("alpha_trader_daily_return_fraction", "Return since the previous close, as a fraction", "mode")
DRAWDOWN = _gauge("alpha_trader_drawdown_fraction", "Loss from the highest equity, as a fraction", "mode")
EXPOSURE = _gauge("alpha_trader_exposure_fraction", "Value of the holdings over equity", "mode")
POSITIONS = _gauge("alpha_trader_positions", "Number of holdings", "mode")
TRADING_STATE = _gauge("alpha_trader_trading_state", "0 active, 1 reducing, 2 halted, 3 flattening", "mode")
FILLS = Counter("alpha_trader_fills", "Fills booked", ("side",))
FILLED_VALUE = Counter("alpha_trader_filled_value_usd", "Value of the fills booked, US dollars", ("side",))
DAILY_VOLUME = _gauge(
    "alpha_trader_daily_volume_usd", "Value of the fills of the venue's present day, US dollars", "mode", "side"
)
ORDERS = Counter("alpha_trader_orders", "Orders of committed decisions", ("outcome",))
CONFIDENCE = Histogram(
    "alpha_trader_signal_confidence", "Confidence of the forecasts", buckets=tuple(step / 10 for step in range(1, 11))
)
DECISIONS = Counter("alpha_trader_decisions", "Symbols decided on", ("reason",))
CYCLES = Counter("alpha_trader_cycles", "Trading cycles", ("outcome",))
CYCLE_SECONDS = Histogram("alpha_trader_cycle_seconds", "Duration of a trading cycle", ("outcome",), buckets=_SECONDS)
CYCLE_FINISHED = _gauge("alpha_trader_cycle_finished_timestamp_seconds", "When the last cycle finished, venue time")
CYCLE_SILENCE = _gauge("alpha_trader_cycle_silence_seconds", "Session time since a cycle did its work", "mode")
TASKS = Counter("alpha_trader_tasks", "Tasks that reached a state", ("kind", "state"))
TASK_SECONDS = Histogram(
    "alpha_trader_task_seconds", "Duration of a task", ("kind",), buckets=(0.1, 1, 5, 15, 60, 300, 900, 3600)
)
DISCARDED = Counter("alpha_trader_messages_discarded", "Messages in the task queue that were thrown away", ("reason",))
VENUE_CALLS = Counter("alpha_trader_venue_calls", "Calls to the venue", ("operation", "outcome"))
VENUE_SECONDS = Histogram(
    "alpha_trader_venue_call_seconds", "Duration of a call to the venue", ("operation",), buckets=_SECONDS
)
STREAM_LISTENING = _gauge("alpha_trader_stream_listening", "1 while the venue's stream is listened to", "stream")
STREAM_SILENCE = _gauge("alpha_trader_stream_silence_seconds", "Since its other end was last heard", "stream")
STREAM_EVENTS = Counter(
    "alpha_trader_stream_events", "Trade updates by the venue's word; mute: connections given up", ("event",)
)
GUARD_LOOKS = Counter("alpha_trader_guard_looks", "Looks of the exit monitor: looked, failed, or waiting", ("outcome",))
GUARDED = _gauge("alpha_trader_guarded_positions", "Holdings without a stop at the venue for all units", "protection")
UNPROTECTED_SECONDS = Counter("alpha_trader_unprotected_seconds", "Seconds, times holdings, in which nobody protected them")
DIVERGENCE = _gauge(
    "alpha_trader_divergence_decisions", "Decisions of the newest session that come out otherwise when made again", "mode"
)
ALERTS = Counter("alpha_trader_alerts", "Messages to people", ("outcome",))
MEMORY = _gauge("alpha_trader_process_memory_bytes", "Resident memory of the process that answered last", "role")
CPU = _gauge("alpha_trader_process_cpu_seconds", "Processor time used by that process", "role")
LOAD = _gauge("alpha_trader_machine_load", "Load average over one minute", "role")
MEMORY_FREE = _gauge("alpha_trader_machine_memory_available_bytes", "Memory available on the machine", "role")
DISK_FREE = _gauge("alpha_trader_machine_disk_free_bytes", "Free space where the process runs", "role")


ORDER_OUTCOMES = ("sent", "refused", "unknown", "unsent")

# A series that begins with its first event hides that event from every rate: let what must not be missed begin at nought.
for _side in Side:
    FILLS.labels(_side.value)
    FILLED_VALUE.labels(_side.value)
for _counter, _outcomes in (
    (ORDERS, ORDER_OUTCOMES),
    (CYCLES, ("completed", "market_closed", "failed")),
    (ALERTS, ("sent", "failed")),
    (GUARD_LOOKS, ("looked", "failed", "waiting")),
):
    for _outcome in _outcomes:
        _counter.labels(_outcome)


def observe_cycle(outcome: str, seconds: float, *, finished_at: float | None = None) -> None:
    """A trading cycle ended. seconds: its duration. finished_at: venue time, seconds since 1970."""
    CYCLES.labels(outcome).inc()
    CYCLE_SECONDS.labels(outcome).observe(seconds)
    if finished_at is not None:
        CYCLE_FINISHED.set(finished_at)


def observe_silence(mode: str, seconds: float) -> None:
    """Session time, by the venue's clock, since a trading cycle did its work; 0 while the venue is closed."""
    CYCLE_SILENCE.labels(mode).set(seconds)


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
        (PORTFOLIO_VALUE, equity),
        (CASH, cash),
        (DAILY_RETURN, daily_return),
        (DRAWDOWN, drawdown),
        (EXPOSURE, exposure),
        (POSITIONS, positions),
        (TRADING_STATE, trading_state),
    )
    for gauge, reading in readings:
        if reading is not None:
            gauge.labels(mode).set(float(reading))


def observe_decisions(records: Iterable[SymbolRecord]) -> None:
    """One decision's records: counts by reason, and the confidence of each forecast there was."""
    found = tuple(records)
    for reason, count in Counts(record.reason for record in found).items():
        DECISIONS.labels(reason.code).inc(count)
    for record in found:
        if 0.0 <= record.confidence <= 1.0:  # not-a-number compares false: no forecast, no reading
            CONFIDENCE.observe(record.confidence)


def observe_fill(side: Side, value: Money) -> None:
    """A fill was booked. value: quantity times price, US dollars."""
    FILLS.labels(side.value).inc()
    FILLED_VALUE.labels(side.value).inc(abs(float(value)))


def observe_daily_volume(mode: str, values: Mapping[Side, Money]) -> None:
    """Value of all fills of the venue's present day by side, US dollars; a side not given had none."""
    for side in Side:
        DAILY_VOLUME.labels(mode, side.value).set(float(values.get(side, 0)))


def observe_order(outcome: str) -> None:
    """How an order of a committed decision fared: one of ORDER_OUTCOMES."""
    ORDERS.labels(outcome).inc()


def expect_tasks(kinds: Iterable[str]) -> None:
    """Let the counts of these kinds begin at nought, for the reason told above."""
    for kind in kinds:
        for state in ("queued", "running", "done", "failed"):
            TASKS.labels(kind, state)


def observe_task(kind: str, state: str, seconds: float | None = None) -> None:
    """A task reached `state`: queued, running, done or failed. seconds: of work, where it ended."""
    TASKS.labels(kind, state).inc()
    if seconds is not None:
        TASK_SECONDS.labels(kind).observe(seconds)


def observe_message_discarded(reason: str) -> None:
    """A message in the task queue was thrown away unread, unknown, of another version, or deadly."""
    DISCARDED.labels(reason).inc()


def observe_venue_call(operation: str, outcome: str, seconds: float) -> None:
    """A call to the venue ended. outcome: ok or the error's code."""
    VENUE_CALLS.labels(operation, outcome).inc()
    VENUE_SECONDS.labels(operation).observe(seconds)


def observe_stream(*, listening: bool, heard_seconds_ago: float | None = None) -> None:
    """How the connection to the trade updates stands."""
    STREAM_LISTENING.labels("trade_updates").set(listening)
    if heard_seconds_ago is not None:
        STREAM_SILENCE.labels("trade_updates").set(heard_seconds_ago)


def observe_stream_event(event: str) -> None:
    """A trade update arrived; mute: a connection that told nothing was given up."""
    STREAM_EVENTS.labels(event).inc()


def observe_guard(outcome: str) -> None:
    """The exit monitor looked, failed to, or waited for its turn."""
    GUARD_LOOKS.labels(outcome).inc()


def observe_protection(*, watched: int, unprotected: int, seconds: float) -> None:
    """Holdings that the exit monitor watches, those that nobody protects, and for how long that was so since the last look,
    summed over them."""
    GUARDED.labels("watched").set(watched)
    GUARDED.labels("unprotected").set(unprotected)
    UNPROTECTED_SECONDS.inc(seconds)


def observe_divergence(mode: str, decisions: int) -> None:
    """How many decisions of the newest session differ from those the backtester makes of the same recordings."""
    DIVERGENCE.labels(mode).set(decisions)


def observe_alert(outcome: str) -> None:
    """A message to people was sent, failed or given up."""
    ALERTS.labels(outcome).inc()


def observe_machine(role: str) -> None:
    """Memory and processor time of this process, load, memory and disk of the machine; skips what the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        MEMORY.labels(role).set(pages * os.sysconf("SC_PAGE_SIZE"))
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                MEMORY_FREE.labels(role).set(int(line.split()[1]) * 1024)
        LOAD.labels(role).set(os.getloadavg()[0])
        DISK_FREE.labels(role).set(shutil.disk_usage(".").free)
    except (OSError, ValueError, IndexError):
        pass
    used = os.times()
    CPU.labels(role).set(used.user + used.system)


def render(*more: CollectorRegistry) -> tuple[bytes, str]:
    """The metrics page and its content type. more: registries of this process to add; with a shared directory they are
    in it already."""
    if shared_directory() is not None:
        return generate_latest(_all_processes()), CONTENT_TYPE_LATEST
    return b"".join(generate_latest(registry) for registry in (REGISTRY, *more)), CONTENT_TYPE_LATEST


def serve(port: int, address: str = "127.0.0.1") -> None:
    """Show the metrics page on a port of its own, from a thread of this process (workers). port 0: do not."""
    if port:
        start_http_server(port, addr=address, registry=REGISTRY if shared_directory() is None else _all_processes())


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
