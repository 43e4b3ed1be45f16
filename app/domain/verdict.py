"""What the evidence says of a result: PASS, WARN or FAIL, with every check behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Level(StrEnum):
    """PASS: the evidence supports an edge. WARN: it is not enough, or missing. FAIL: it speaks against one."""

    PASS = "PASS"  # noqa: S105 - no password
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question to the evidence. figure: None where it is missing. threshold: what PASS asks of it. sentence: for people."""

    name: str
    level: Level
    figure: float | None
    threshold: float | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All checks. It is as good as the worst of them."""

    checks: tuple[Check, ...]

    @property
    def level(self) -> Level:
        """FAIL when any check fails, else WARN when any warns; WARN without checks."""
        levels = {check.level for check in self.checks}
        if Level.FAIL in levels:
            return Level.FAIL
        return Level.WARN if Level.WARN in levels or not levels else Level.PASS

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences of the checks that did not pass, the failed ones first; of all where all passed."""
        wanted = (Level.FAIL, Level.WARN) if self.level is not Level.PASS else (Level.PASS,)
        return tuple(check.sentence for level in wanted for check in self.checks if check.level is level)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A verdict and what it is on. dataset: digest of the data. trials: how many were counted against the result."""

    strategy: str
    values: Mapping[str, float]
    dataset: str
    trials: int
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRecord:
    """A verdict as it was stored. backtest_id: None for one on anything else, such as a sweep."""

    verdict_id: int
    at: datetime
    backtest_id: str | None
    judged: Judged


@dataclass(frozen=True, slots=True, kw_only=True)
class LookaheadCheck:
    """That something was looked at for what it knows of the future, or that a person lets it trade real money all the same.

    subject: a strategy's name, or `model`. content: digest of its code and parameters; a change makes it another. passed: false
    where it looks ahead, and in a person's word. leak: the first part that differs, None where nothing does. actor, reason:
    empty but for a person's word, which holds until the next check of the same content.
    """

    at: datetime
    subject: str
    content: str
    passed: bool
    leak: str | None = None
    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A person lets a strategy trade real money against its verdict, or without one."""

    at: datetime
    strategy: str
    values: Mapping[str, float]
    actor: str
    reason: str
