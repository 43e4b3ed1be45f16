"""The verdict slot of a result as people see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_HEADLINES = {
    "PASS": "The evidence supports an edge",
    "WARN": "The evidence is not enough",
    "FAIL": "The evidence speaks against an edge",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """level: PASS, WARN, FAIL, or NONE where nobody judged. checks: name, level, figure, threshold, sentence."""

    level: str
    headline: str
    reasons: Sequence[str]
    checks: Sequence[Mapping[str, Any]]


def verdict_of(verdict: Mapping[str, Any] | None) -> Shown:
    """What to show of the verdict of a result; where there is none, that."""
    level = str(verdict.get("level", "")) if verdict else ""
    if verdict is None or level not in _HEADLINES:
        said = "This result was not checked for luck and overfitting: its figures alone prove nothing."
        return Shown(level="NONE", headline="No verdict", reasons=(said,), checks=())
    checks = verdict.get("checks", ())
    reasons = verdict.get("reasons") or [check["sentence"] for check in checks if check["level"] == level]
    return Shown(level=level, headline=_HEADLINES[level], reasons=reasons, checks=checks)
