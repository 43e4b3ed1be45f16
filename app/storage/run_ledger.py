"""Runs of research and what searches found. Each method is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from app.domain.ports import Clock
from app.domain.research import OptimizerResult, ResearchChunk, ResearchRun, RunState
from app.storage import optimizer_results, research_runs
from app.storage.database import Database


class RunLedger:
    """The part of the ledger that keeps long searches."""

    _db: Database
    _clock: Clock

    def create_run(
        self, run_id: str, *, kind: str, request: Mapping[str, Any], dataset: str, chunks: Sequence[Mapping[str, Any]]
    ) -> None:
        """Notes a run of research and its chunks. One that is noted already stays as it is."""
        now = self._clock.now()
        self._db.write(
            lambda c: research_runs.create(c, run_id, kind=kind, request=request, dataset=dataset, chunks=chunks, at=now)
        )

    def lease_chunk(
        self, run_id: str, *, owner: str, patience: timedelta, is_alive: Callable[[str], bool]
    ) -> ResearchChunk | None:
        """A chunk that nobody works on, None when there is none now."""
        now = self._clock.now()
        return self._db.write(
            lambda c: research_runs.lease(c, run_id, owner=owner, now=now, patience=patience, is_alive=is_alive)
        )

    def renew_chunk(self, run_id: str, number: int, *, owner: str) -> bool:
        """Whether `owner` may go on with it."""
        return self._db.write(lambda c: research_runs.renew(c, run_id, number, owner=owner, now=self._clock.now()))

    def keep_chunk(self, run_id: str, number: int, result: Mapping[str, Any]) -> bool:
        """It is done; whether it was not before."""
        return self._db.write(lambda c: research_runs.keep(c, run_id, number, result))

    def end_run(
        self, run_id: str, state: RunState, *, result: Mapping[str, Any] | None = None, error: str | None = None
    ) -> bool:
        """The run is over; whether it was not before."""
        now = self._clock.now()
        return self._db.write(lambda c: research_runs.end(c, run_id, state, at=now, result=result, error=error))

    def chunk_results(self, run_id: str) -> list[dict[str, Any] | None]:
        """What came of each chunk, None where it is not done."""
        return self._db.read(lambda c: research_runs.results(c, run_id))

    def research_run(self, run_id: str) -> ResearchRun:
        """One run with its result."""
        return self._db.read(lambda c: research_runs.one(c, run_id))

    def research_runs(self, limit: int = 50, kind: str | None = None) -> list[ResearchRun]:
        """Newest first, without results."""
        return self._db.read(lambda c: research_runs.listing(c, limit=limit, kind=kind))

    def save_optimizer_results(self, run_id: str, results: Sequence[OptimizerResult]) -> None:
        """The best sets that a search found, in place of any it had."""
        self._db.write(lambda c: optimizer_results.save(c, run_id, results))

    def optimizer_results(self, limit: int = 50, *, only_best: bool = False) -> list[OptimizerResult]:
        """Newest first."""
        return self._db.read(lambda c: optimizer_results.listing(c, limit=limit, only_best=only_best))
