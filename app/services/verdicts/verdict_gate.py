"""VerdictGate: with real money only what has not failed. A strategy without a verdict, or whose newest says FAIL, enters
nothing until it has another or a person overrides it; nor does one that looks ahead, or was never looked at."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from app.domain.errors import AlphaTraderError
from app.domain.verdict import Level, Override, VerdictRecord


class Decided(Protocol):
    """What was decided about a strategy."""

    def newest_verdict(self, strategy: str, values: Mapping[str, float]) -> VerdictRecord | None: ...  # noqa: D102
    def verdict_override(self, strategy: str, values: Mapping[str, float]) -> Override | None: ...  # noqa: D102


class Check(Protocol):
    """Whether a strategy was looked at for what it knows of the future."""

    def objection(self) -> str | None: ...  # noqa: D102
    def file_known_since(self) -> datetime | None: ...  # noqa: D102


class VerdictGate:
    """Of the strategy in use. real_money: whether it refuses; elsewhere it only tells. check: a further objection."""

    def __init__(
        self,
        database: Decided,
        *,
        strategy: str,
        values: Mapping[str, float],
        real_money: bool,
        check: Check | None = None,
    ) -> None:
        self._database = database
        self._strategy = strategy
        self._values = dict(values)
        self._real_money = real_money
        self._check = check

    def objection(self) -> str | None:
        """What speaks against this strategy, None when nothing does or a person has overridden it. What cannot be read does."""
        found = self._judged(), None if self._check is None else self._check.objection()
        return "; ".join(one for one in found if one is not None) or None

    def _judged(self) -> str | None:
        try:
            found = self._database.newest_verdict(self._strategy, self._values)
            since = None if self._check is None else self._check.file_known_since()
            decided = self._database.verdict_override(self._strategy, self._values)
            if decided is not None and (since is None or decided.at >= since):
                return None
            is_older = found is not None and since is not None and found.at < since
            if found is not None and found.judged.verdict.level is not Level.FAIL and not is_older:
                return None
        except AlphaTraderError as fault:
            return f"the verdict on {self._strategy} cannot be read: {fault.message}"
        named = f"{self._strategy} with {self._told()}"
        mend = f'or decide otherwise: trader verdict override {self._strategy} --reason "..."'
        if found is None:
            return f"there is no verdict on {named}: run a backtest of it, {mend}"
        if is_older:
            return f"the verdict on {named} is older than its file: run a backtest of it as it is now, {mend}"
        return f"the verdict on {named} is FAIL ({'; '.join(found.judged.verdict.reasons[:2])}): {mend}"

    def entries_forbidden(self) -> str | None:
        """Why no entry may be sent; None always where no real money is at stake."""
        return self.objection() if self._real_money else None

    def _told(self) -> str:
        return ", ".join(f"{name}={value:g}" for name, value in self._values.items()) or "its defaults"
