"""Research runs: sweeps, walk-forwards and searches that are worked off in chunks, by any number of processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class RunState(StrEnum):
    """Where a run stands. open: there are chunks to do, or being done."""

    OPEN = "open"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ChunkState(StrEnum):
    """Where a chunk stands. leased: a process works on it, or died over it."""

    OPEN = "open"
    LEASED = "leased"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResearchRun:
    """A run. kind: sweep, walk_forward or optimize. request: all that is needed to work on it, as plain JSON values.
    dataset: digest of the bars it is of. done of chunks: its progress; the last chunk puts the others together. Wall times."""

    run_id: str
    kind: str
    state: RunState
    request: Mapping[str, Any]
    dataset: str
    chunks: int
    done: int
    result: Mapping[str, Any] | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResearchChunk:
    """A part of a run that one process does alone. params: what it is of. attempts: how often it was begun."""

    run_id: str
    number: int
    params: Mapping[str, Any]
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerResult:
    """One of the best parameter sets of a search. rank: 1 is the best on the part it was chosen by. total_return, max_drawdown
    (magnitude), win_rate: fractions; sharpe: of a year. is_best: the one chosen. figures: of each part of the data."""

    run_id: str
    rank: int
    created_at: datetime
    strategy: str
    parameters: Mapping[str, float]
    total_return: float | None
    max_drawdown: float | None
    sharpe: float | None
    win_rate: float | None
    is_best: bool
    figures: Mapping[str, Any]
