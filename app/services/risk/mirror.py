"""`risk_state.json`: the risk state as a person can read it, cross-checked at every start of a cycle (decision 18)."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from app.domain.errors import ConfigurationError
from app.domain.trading_state import RiskState, TradingState
from app.runtime.whole_file import DRAFT_PREFIX, replace_file

VERSION = 2
_STATE: TypeAdapter[RiskState] = TypeAdapter(RiskState)
_ABANDONED = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrored:
    """What the file says. fault: why it says nothing, empty when it does or is not there."""

    state: RiskState | None = None
    fault: str = ""


class RiskMirror:
    """The file of one installation."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Mirrored:
        """Never raises for a damaged file. ConfigurationError: a newer version of the product has written it."""
        try:
            document = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return Mirrored()
        except (ValueError, RecursionError, OSError) as error:
            return Mirrored(fault=f"it cannot be read: {str(error)[:200]}")
        if not isinstance(document, dict):
            return Mirrored(fault="it holds no risk state")
        version = document.get("version", 1)
        if isinstance(version, int) and version > VERSION:
            raise ConfigurationError(
                f"{self.path.name} has version {version}, this program knows {VERSION}: a newer version wrote it. "
                "Install that version, or move the file away: then trading starts halted."
            )
        state = parse(document)
        return Mirrored(state=state) if state else Mirrored(fault="it holds no whole risk state")

    def write(self, state: RiskState) -> None:
        """Whole or not at all."""
        plain = _STATE.dump_python(state, mode="json")
        document = {"version": VERSION, **plain, "trading_state": state.trading_state.name}
        replace_file(self.path, json.dumps(document, indent=2).encode())

    def tidy(self, now: datetime) -> None:
        """Remove what a process that died while writing has left. now: wall time."""
        for draft in self.path.parent.glob(f"{DRAFT_PREFIX}*"):
            with contextlib.suppress(OSError):
                if draft.stat().st_mtime < (now - _ABANDONED).timestamp():
                    shutil.rmtree(draft, ignore_errors=True)


def parse(document: Mapping[str, Any]) -> RiskState | None:
    """A state from plain JSON values, as the mirror and the history of the database hold it; None if it is none."""
    values = dict(document)
    word, disabled = values.get("trading_state"), values.get("disabled_symbols")
    if isinstance(word, str):
        values["trading_state"] = TradingState.__members__.get(word)
    if isinstance(disabled, str):
        values["disabled_symbols"] = disabled.split()
    try:
        state = _STATE.validate_python(values)
    except (ValidationError, ValueError):
        return None
    aware = all(value.tzinfo is not None for value in asdict(state).values() if isinstance(value, datetime))
    return state if aware and state.baseline_equity > 0 and state.high_water_equity > 0 else None
