"""OptimizerService: tunes the watch list and keeps what training then uses."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime

import structlog

from app.domain.bar import BarSeries
from app.domain.errors import InvalidInput
from app.learning.model import ParamStore, TunedParams
from app.learning.tuning import tune_symbol

log = structlog.get_logger()
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningReport:
    """What became of one symbol's tuning. tuned: the parameters kept, with their loss and that of the defaults; None
    when tuning failed, and then reason says why."""

    symbol: str
    tuned: TunedParams | None
    reason: str | None = None


class OptimizerService:
    """Tunes hyper-parameters per symbol over all cores, in bounded time."""

    def __init__(self, params: ParamStore, *, workers: int | None = None, seconds_per_symbol: float = 20.0) -> None:
        self._params = params
        self._workers = workers or os.cpu_count() or 1
        self._seconds_per_symbol = seconds_per_symbol

    def tune(self, bars: Mapping[str, BarSeries], *, at: datetime, trials: int, progress: Progress) -> list[TuningReport]:
        """Tune every symbol on what was known at `at` and keep the results.

        trials: parameter sets tried a symbol, the defaults among them. progress(done, total, symbol) is called on this
        thread after each symbol. A symbol that cannot be tuned is a report; its earlier parameters stay.
        Raises InvalidInput for less than one trial.
        """
        if not 1 <= trials <= 1000:
            raise InvalidInput(f"trials must lie in 1..1000, got {trials}")
        reports: dict[str, TuningReport] = {}
        pool = ThreadPoolExecutor(max_workers=self._workers, thread_name_prefix="tuning")
        try:
            futures = {pool.submit(self._tune, series, at, trials): symbol for symbol, series in bars.items()}
            for future in as_completed(futures):
                symbol = futures[future]
                reports[symbol] = future.result()
                progress(len(reports), len(bars), symbol)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return [reports[symbol] for symbol in bars]

    def _tune(self, bars: BarSeries, at: datetime, trials: int) -> TuningReport:
        try:
            tuned = tune_symbol(bars, at=at, trials=trials, timeout_seconds=self._seconds_per_symbol)
            self._params.save(tuned)
        except InvalidInput as fault:
            return TuningReport(symbol=bars.symbol, tuned=None, reason=fault.message)
        except Exception as fault:  # one symbol must not end the tuning of the others
            log.exception("tuning_failed", symbol=bars.symbol)
            return TuningReport(symbol=bars.symbol, tuned=None, reason=f"{type(fault).__name__}: {fault}")
        return TuningReport(symbol=bars.symbol, tuned=tuned)
