"""What the research bench remembers: trials, verdicts, overrides. Each method is one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from app.domain.ports import Clock
from app.domain.trial import DataSet, Trial
from app.domain.verdict import Judged, LookaheadCheck, Override, VerdictRecord
from app.storage import trials, verdicts
from app.storage.database import Database
from app.storage.trials import Counted


class ResearchLedger:
    """The part of the ledger that counts luck."""

    _db: Database
    _clock: Clock

    def add_trials(self, data_set: DataSet, evaluated: Iterable[Trial]) -> int:
        """Stores trials; how many are new. All of them or, with InvalidInput, none."""
        kept = list(evaluated)
        return self._db.write(lambda c: trials.add(c, data_set, kept))

    def counted_trials(self, data_set: DataSet) -> Counted:
        """The trials on a data set and on those that overlap with it."""
        return self._db.read(lambda c: trials.counted(c, data_set))

    def trials_of(self, digest: str, strategy: str, limit: int = 100_000) -> list[Trial]:
        """Trials of a strategy on one data set, the newest first."""
        return self._db.read(lambda c: trials.of_strategy(c, digest, strategy, limit))

    def data_set(self, digest: str) -> DataSet:
        """The data set whose digest begins so."""
        return self._db.read(lambda c: trials.one_data_set(c, digest))

    def data_sets(self, limit: int = 50) -> list[tuple[DataSet, int]]:
        """Data sets with the number of their trials, those tried last first."""
        return self._db.read(lambda c: trials.data_sets(c, limit))

    def save_verdict(self, judged: Judged, backtest_id: str | None = None) -> None:
        """Stores a verdict."""
        self._db.write(lambda c: verdicts.add(c, judged, at=self._clock.now(), backtest_id=backtest_id))

    def verdict_of(self, backtest_id: str) -> VerdictRecord:
        """The verdict on a backtest."""
        return self._db.read(lambda c: verdicts.of_backtest(c, backtest_id))

    def newest_verdict(self, strategy: str, values: Mapping[str, float]) -> VerdictRecord | None:
        """The newest verdict on a strategy with these parameters."""
        return self._db.read(lambda c: verdicts.newest(c, strategy, values))

    def verdicts(self, limit: int = 50) -> list[VerdictRecord]:
        """Newest first."""
        return self._db.read(lambda c: verdicts.listing(c, limit))

    def override_verdict(self, strategy: str, values: Mapping[str, float], *, actor: str, reason: str) -> Override:
        """A person's decision against the newest verdict; recorded, and told in the audit log."""
        decided = Override(at=self._clock.now(), strategy=strategy, values=dict(values), actor=actor, reason=reason)
        self._db.write(lambda c: verdicts.override(c, decided))
        return decided

    def keep_check(self, check: LookaheadCheck) -> None:
        """Stores a check for lookahead, or a person's word against it, which the audit log is told."""
        self._db.write(lambda c: verdicts.keep_check(c, check))

    def newest_check(self, subject: str, content: str) -> LookaheadCheck | None:
        """The newest check of a subject with this very content."""
        return self._db.read(lambda c: verdicts.newest_check(c, subject, content))

    def first_check_at(self, subject: str, content: str) -> datetime | None:
        """When a subject with this very content was first looked at."""
        return self._db.read(lambda c: verdicts.first_check_at(c, subject, content))

    def verdict_override(self, strategy: str, values: Mapping[str, float]) -> Override | None:
        """The override in force: the newest, where no verdict has come since."""
        return self._db.read(lambda c: verdicts.overridden(c, strategy, values))
