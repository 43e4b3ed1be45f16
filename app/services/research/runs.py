"""ResearchService: sweeps, walk-forwards and searches in chunks, by any number of processes, each chunk kept when it is done.

A run is a row with its chunks. Whoever works on it leases a chunk, does it, keeps what came of it and takes the next. A process
that dies loses at most the chunk it was at: the next worker does that one again, and as a trial is the same trial however often
it is evaluated, the ledger counts it once. The last chunk is leased when all others are done; it puts them together.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol

import structlog

from app.domain.errors import AlphaTraderError, Conflict, InvalidInput, TryAgain
from app.domain.records import BacktestRecord
from app.domain.research import OptimizerResult, ResearchChunk, ResearchRun, RunState

log = structlog.get_logger()
Progress = Callable[[int, int, str], None]
Plain = Mapping[str, Any]

PATIENCE = timedelta(minutes=10)  # a worker on another host that has not renewed for so long is taken for dead
RENEW_SECONDS = 2.0
LOOK_AGAIN_SECONDS = 0.2
MOST_ATTEMPTS = 3
MOST_OPEN = 20  # runs for others to work on that are not over


class Job(Protocol):
    """A run made ready to be worked on. request: with every default filled in and the span of the bars fixed, so that it
    means the same tomorrow. dataset: digest of those bars. chunks: what each is of."""

    @property
    def request(self) -> Plain: ...  # noqa: D102
    @property
    def dataset(self) -> str: ...  # noqa: D102
    @property
    def chunks(self) -> Sequence[Plain]: ...  # noqa: D102

    def work(self, chunk: Plain, progress: Progress) -> Plain:
        """Do a chunk. Doing it again gives the same trials. What progress raises ends it."""
        ...

    def finish(self, run_id: str, results: Sequence[Plain], progress: Progress) -> Plain:
        """Put all chunks together. Doing it again leaves nothing twice."""
        ...


class Runs(Protocol):
    """Where runs are kept."""

    def create_run(  # noqa: D102
        self, run_id: str, *, kind: str, request: Plain, dataset: str, chunks: Sequence[Plain]
    ) -> None: ...
    def lease_chunk(  # noqa: D102
        self, run_id: str, *, owner: str, patience: timedelta, is_alive: Callable[[str], bool]
    ) -> ResearchChunk | None: ...
    def renew_chunk(self, run_id: str, number: int, *, owner: str) -> bool: ...  # noqa: D102
    def keep_chunk(self, run_id: str, number: int, result: Plain) -> bool: ...  # noqa: D102
    def end_run(  # noqa: D102
        self, run_id: str, state: RunState, *, result: Plain | None = None, error: str | None = None
    ) -> bool: ...
    def chunk_results(self, run_id: str) -> Sequence[Plain | None]: ...  # noqa: D102
    def research_run(self, run_id: str) -> ResearchRun: ...  # noqa: D102
    def research_runs(self, limit: int, kind: str | None = None) -> Sequence[ResearchRun]: ...  # noqa: D102
    def backtest(self, backtest_id: str) -> BacktestRecord: ...  # noqa: D102
    def optimizer_results(self, limit: int, *, only_best: bool = False) -> Sequence[OptimizerResult]: ...  # noqa: D102


class Stopped(Exception):
    """The run is over, or another process has taken this chunk over."""


class _Interrupted(Exception):
    """Whoever watches the progress wants this process to stop; the run goes on."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


class ResearchService:
    """Runs of research. kinds: how a request of each kind becomes a job. owner: this process, as `is_alive` knows it."""

    def __init__(
        self,
        database: Runs,
        *,
        kinds: Mapping[str, Callable[[Plain], Job]],
        owner: str,
        is_alive: Callable[[str], bool],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database
        self._kinds = kinds
        self._owner = owner
        self._is_alive = is_alive
        self._pause = pause

    def start(self, kind: str, request: Plain, *, run_id: str | None = None) -> str:
        """Note a run and its chunks; its id, new unless given. Nothing is worked on yet. Raises InvalidInput naming what is
        wrong with the request."""
        if kind not in self._kinds:
            raise InvalidInput(f"no such kind of research: {kind}; there are {', '.join(self._kinds)}")
        job = self._kinds[kind](request)
        name = run_id or uuid.uuid4().hex[:12]
        self._database.create_run(name, kind=kind, request=job.request, dataset=job.dataset, chunks=job.chunks)
        log.info("research_started", run_id=name, kind=kind, chunks=len(job.chunks))
        return name

    def submit(self, kind: str, request: Plain, ring: Callable[[str], None]) -> str:
        """Note a run for others to work on and ring for them; its id. Raises as `start`, Conflict when MOST_OPEN runs are not
        over yet, and what `ring` raises: the run is cancelled then."""
        waiting = sum(run.state is RunState.OPEN for run in self._database.research_runs(10 * MOST_OPEN))
        if waiting >= MOST_OPEN:
            raise Conflict(
                f"{waiting} runs are not over yet; cancel some, or try again when they have ended", code="queue_full"
            )
        run_id = self.start(kind, request)
        try:
            ring(run_id)
        except TryAgain:
            self._database.end_run(run_id, RunState.CANCELLED, error="the task queue could not be reached")
            raise
        return run_id

    def work(
        self, run_id: str, progress: Progress = lambda _done, _total, _message: None, *, wait: bool = False
    ) -> ResearchRun:
        """Work on a run until nothing is left to begin, or, with `wait`, until it is over; the run as it then stands.

        progress(done, total, what) comes while chunks are worked on; what it raises ends this process's work and leaves the
        chunk to the next. Raises what a chunk raised, after noting that the run has failed, and NotFound.
        """
        job: Job | None = None
        while (run := self._database.research_run(run_id)).state is RunState.OPEN:
            chunk = self._database.lease_chunk(run_id, owner=self._owner, patience=PATIENCE, is_alive=self._is_alive)
            if chunk is not None:
                job = self._do(run, job, chunk, progress)
                progress(min(run.done + 1, run.chunks), run.chunks, "")
            elif wait:
                progress(run.done, run.chunks, "others work on the rest")
                self._pause(LOOK_AGAIN_SECONDS)
            else:
                break
        return run

    def cancel(self, run_id: str) -> ResearchRun:
        """Nobody works on it any more, within seconds; what was counted stays counted. NotFound."""
        self._database.end_run(run_id, RunState.CANCELLED, error="cancelled by a person")
        return self._database.research_run(run_id)

    def run(self, run_id: str) -> ResearchRun:
        """One run. NotFound."""
        return self._database.research_run(run_id)

    def runs(self, limit: int = 50, kind: str | None = None) -> Sequence[ResearchRun]:
        """Newest first, without results."""
        return self._database.research_runs(limit, kind)

    def backtest(self, run: ResearchRun) -> BacktestRecord | None:
        """What a walk-forward that is done is kept as; None for other runs. NotFound: it has been removed."""
        kept = (run.result or {}).get("backtest_id")
        return None if kept is None else self._database.backtest(kept)

    def results(self, limit: int = 50, *, only_best: bool = False) -> Sequence[OptimizerResult]:
        """What searches found, newest first."""
        return self._database.optimizer_results(limit, only_best=only_best)

    def _do(self, run: ResearchRun, job: Job | None, chunk: ResearchChunk, progress: Progress) -> Job | None:
        if chunk.attempts > MOST_ATTEMPTS:
            error = f"part {chunk.number} was begun {MOST_ATTEMPTS} times and never ended: it kills the process that does it"
            self._database.end_run(run.run_id, RunState.FAILED, error=error)
            return job
        alive = self._heartbeat(run, chunk, progress)
        try:
            job = job or self._open(run)
            if chunk.number < run.chunks:
                self._database.keep_chunk(run.run_id, chunk.number, job.work(chunk.params, alive))
            else:
                self._finish(run, job, alive)
        except _Interrupted as told:
            raise told.reason from None
        except Stopped:
            log.info("research_chunk_given_up", run_id=run.run_id, chunk=chunk.number)
        except InvalidInput as fault:
            self._database.end_run(run.run_id, RunState.FAILED, error=fault.message)
            raise
        except AlphaTraderError:  # the database or a venue was away: the chunk can be done later
            raise
        except Exception as fault:
            self._database.end_run(run.run_id, RunState.FAILED, error=f"{type(fault).__name__}: {fault}")
            raise
        return job

    def _open(self, run: ResearchRun) -> Job:
        job = self._kinds[run.kind](run.request)
        if job.dataset != run.dataset:
            raise InvalidInput(
                "the bars are no longer those that this run began with (restated, or another file): start a new run",
                code="data_changed",
            )
        return job

    def _finish(self, run: ResearchRun, job: Job, alive: Progress) -> None:
        results = [result for result in self._database.chunk_results(run.run_id) if result is not None]
        result = job.finish(run.run_id, results, alive)
        self._database.end_run(run.run_id, RunState.DONE, result=result)
        self._database.keep_chunk(run.run_id, run.chunks, {})
        log.info("research_done", run_id=run.run_id, kind=run.kind)

    def _heartbeat(self, run: ResearchRun, chunk: ResearchChunk, progress: Progress) -> Progress:
        """Progress inside a chunk: renews the lease every other second. Raises Stopped when there is no point in going on."""
        renewed_at = time.monotonic()

        def alive(done: int, total: int, message: str) -> None:
            nonlocal renewed_at
            if time.monotonic() - renewed_at >= RENEW_SECONDS:
                renewed_at = time.monotonic()
                if not self._database.renew_chunk(run.run_id, chunk.number, owner=self._owner):
                    raise Stopped
            try:
                progress(run.done, run.chunks, f"{message} ({done} of {total})" if total else message)
            except Exception as reason:
                raise _Interrupted(reason) from reason

        return alive
