"""The series themselves: name, meaning, labels. docs/metrics.md lists them; `app.runtime.metrics` writes them.

Several processes share one page when PROMETHEUS_MULTIPROC_DIR names a directory before this module is imported: each
writes its own files there, and whoever renders adds them up. Gauges then tell the newest reading of any process.
"""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram

from app.domain.order import Side

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
ORDER_OUTCOMES = ("sent", "refused", "unknown", "unsent")

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
RISK_READING = _gauge(
    "alpha_trader_risk_reading", "What a risk limit is compared with: a fraction, seconds or a number", "mode", "limit"
)
RISK_LIMIT = _gauge("alpha_trader_risk_limit", "The limit itself, in the unit of its reading", "mode", "limit")
BOOK_DIFFERENCES = _gauge(
    "alpha_trader_book_differences", "Differences between our books and the venue's that nothing explains", "mode"
)
PRICE_AGE = _gauge(
    "alpha_trader_price_age_seconds", "Age of the newest and of the oldest price at the last cycle", "mode", "which"
)
FILLS = Counter("alpha_trader_fills", "Fills booked", ("side",))
FILLED_VALUE = Counter("alpha_trader_filled_value_usd", "Value of the fills booked, US dollars", ("side",))
DAILY_VOLUME = _gauge(
    "alpha_trader_daily_volume_usd", "Value of the fills of the venue's present day, US dollars", "mode", "side"
)
ORDERS = Counter("alpha_trader_orders", "Orders of committed decisions", ("outcome",))
CONFIDENCE = Histogram(
    "alpha_trader_signal_confidence", "Confidence of the forecasts", buckets=tuple(step / 10 for step in range(1, 11))
)
PREDICTIONS = Counter("alpha_trader_predictions", "Symbols judged by the models or the strategy", ("outcome",))
FORECAST_HITS = _gauge(
    "alpha_trader_forecast_hit_fraction",
    "Share of the session's forecasts whose sign is that of the return since the last close, so far",
    "mode",
)
FORECAST_ERROR = _gauge(
    "alpha_trader_forecast_error_ratio",
    "Mean absolute error of the session's forecasts over that of forecasting no change, so far; below 1 is better",
    "mode",
)
FORECAST_SYMBOLS = _gauge("alpha_trader_forecast_symbols", "Symbols behind the two readings of forecast quality", "mode")
BARS = Counter("alpha_trader_bars_received", "Bars told by the venue's data service", ("timeframe",))
DECISIONS = Counter("alpha_trader_decisions", "Symbols decided on", ("reason",))
CYCLES = Counter("alpha_trader_cycles", "Trading cycles", ("outcome",))
CYCLE_SECONDS = Histogram("alpha_trader_cycle_seconds", "Duration of a trading cycle", ("outcome",), buckets=_SECONDS)
CYCLE_FINISHED = _gauge("alpha_trader_cycle_finished_timestamp_seconds", "When the last cycle finished, venue time")
CYCLE_SILENCE = _gauge("alpha_trader_cycle_silence_seconds", "Session time since a cycle did its work", "mode")
TASKS = Counter("alpha_trader_tasks", "Tasks that reached a state", ("kind", "state"))
TASK_SECONDS = Histogram(
    "alpha_trader_task_seconds", "Duration of a task", ("kind",), buckets=(0.1, 1, 5, 15, 60, 300, 900, 3600)
)
TASKS_WAITING = _gauge("alpha_trader_tasks_waiting", "Tasks that are queued and not begun", "mode")
TASK_WAIT = _gauge("alpha_trader_task_wait_seconds", "Age of the oldest task that is queued and not begun", "mode")
OUTBOX_WAITING = _gauge("alpha_trader_outbox_messages", "Messages to people not delivered yet", "mode")
OUTBOX_WAIT = _gauge("alpha_trader_outbox_wait_seconds", "Age of the oldest message to people not delivered yet", "mode")
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
TURN = _gauge("alpha_trader_turn_timestamp_seconds", "When the process last went through its loop, wall time", "role")
MEMORY = _gauge("alpha_trader_process_memory_bytes", "Resident memory of the process that answered last", "role")
CPU = _gauge("alpha_trader_process_cpu_seconds", "Processor time used by that process", "role")
LOAD = _gauge("alpha_trader_machine_load", "Load average over one minute", "role")
MEMORY_FREE = _gauge("alpha_trader_machine_memory_available_bytes", "Memory available on the machine", "role")
DISK_FREE = _gauge("alpha_trader_machine_disk_free_bytes", "Free space where the process runs", "role")


# A series that begins with its first event hides that event from every rate: let what must not be missed begin at nought.
for _side in Side:
    FILLS.labels(_side.value)
    FILLED_VALUE.labels(_side.value)
for _counter, _outcomes in (
    (ORDERS, ORDER_OUTCOMES),
    (CYCLES, ("completed", "market_closed", "failed")),
    (ALERTS, ("sent", "failed")),
    (GUARD_LOOKS, ("looked", "failed", "waiting")),
    (PREDICTIONS, ("judged", "none")),
):
    for _outcome in _outcomes:
        _counter.labels(_outcome)
