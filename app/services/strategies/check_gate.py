"""CheckGate: with real money nothing that was not looked at for what it knows of the future, as it is now.

Strategies of the product are held by its own tests. A user's file and the models are not: their check is asked for again when
their code or their parameters have changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

import app.indicators
import app.learning
from app.domain.errors import AlphaTraderError, InvalidInput
from app.domain.ports import Clock
from app.domain.verdict import LookaheadCheck
from app.strategies.catalog import CATALOG, MODEL_DRIVEN

MODEL = "model"


class Checks(Protocol):
    """Where checks are kept."""

    def keep_check(self, check: LookaheadCheck) -> None: ...  # noqa: D102
    def newest_check(self, subject: str, content: str) -> LookaheadCheck | None: ...  # noqa: D102
    def first_check_at(self, subject: str, content: str) -> datetime | None: ...  # noqa: D102


class CheckedContents:
    """What was checked, by content. directory: where the user's own strategies lie."""

    def __init__(self, database: Checks, directory: Path, clock: Clock) -> None:
        self._database = database
        self._directory = directory
        self._clock = clock

    def content(self, subject: str, values: Mapping[str, float]) -> str | None:
        """Digest of a user's file with its parameters, or of the code of the models; None for a strategy of the product."""
        if subject in (MODEL, MODEL_DRIVEN):
            packages = (app.learning, app.indicators)
            files = [path for package in packages for path in sorted(Path(package.__path__[0]).glob("*.py"))]
            return _digest(files, {})
        return None if subject in CATALOG else _digest([self._directory / f"{subject}.py"], values)

    def keep(self, subject: str, values: Mapping[str, float], leak: str | None, *, passed: bool) -> None:
        """Note what came of a check."""
        content = self.content(subject, values)
        if content is not None:
            self._database.keep_check(
                LookaheadCheck(at=self._clock.now(), subject=_named(subject), content=content, passed=passed, leak=leak)
            )

    def override(self, subject: str, values: Mapping[str, float], *, actor: str, reason: str) -> LookaheadCheck:
        """A person lets it trade real money unchecked, or against its check, until the next check or change. Raises
        InvalidInput without a reason, and for a strategy of the product, which needs none."""
        content = self.content(subject, values)
        if content is None:
            raise InvalidInput(f"{subject} is a strategy of the product: it needs no check of yours")
        if not reason.strip():
            raise InvalidInput("an override is kept for ever: say why this may trade real money")
        decided = LookaheadCheck(
            at=self._clock.now(),
            subject=_named(subject),
            content=content,
            passed=False,
            actor=actor,
            reason=reason.strip(),
        )
        self._database.keep_check(decided)
        return decided

    def gate(self, traded: Sequence[tuple[str, Mapping[str, float]]], *, uses_models: bool) -> CheckGate:
        """For the strategies, with their parameters, that trade now, by their content at this moment: a later change of a file
        does not change what runs."""
        names = {name for name, _ in traded}
        wanted = [*traded, *([(MODEL, {})] if uses_models and MODEL_DRIVEN not in names else [])]
        contents = {_named(name): self.content(name, given) for name, given in wanted}
        return CheckGate(self._database, {name: content for name, content in contents.items() if content is not None})


class CheckGate:
    """contents: by subject, what must have been looked at."""

    def __init__(self, database: Checks, contents: Mapping[str, str]) -> None:
        self._database = database
        self._contents = dict(contents)

    def file_known_since(self) -> datetime | None:
        """When the user's file with these parameters was first looked at as it is now: a verdict from before may be on another.
        None where nothing of the user's trades, or it was never looked at."""
        found = [self._database.first_check_at(name, content) for name, content in self._contents.items() if name != MODEL]
        return found[0] if found else None

    def objection(self) -> str | None:
        """What speaks against it, None when all was looked at and nothing found, or a person has decided so. What cannot be
        read does."""
        for subject, content in self._contents.items():
            try:
                found = self._database.newest_check(subject, content)
            except AlphaTraderError as fault:
                return f"the check of {subject} cannot be read: {fault.message}"
            mend = f'or decide otherwise: trader check override {subject} --reason "..."'
            if found is None:
                return f"{subject} as it is now was never looked at: run trader check lookahead {subject}, {mend}"
            if not (found.passed or found.reason):
                return f"{subject} looks ahead ({found.leak or 'nothing could be compared'}): mend and check it again, {mend}"
        return None


def _named(subject: str) -> str:
    return MODEL if subject == MODEL_DRIVEN else subject


def _digest(files: list[Path], values: Mapping[str, float]) -> str:
    """Raises InvalidInput for a file that cannot be read."""
    whole = hashlib.sha256(json.dumps({name: float(value) for name, value in sorted(values.items())}).encode())
    for path in files:
        try:
            whole.update(path.read_bytes())
        except OSError as fault:
            raise InvalidInput(f"{path} cannot be read: {fault.strerror}") from None
    return whole.hexdigest()
