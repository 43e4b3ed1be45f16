"""What belongs to one installation on disk: the lock, the saved simulated run, and the settings its processes run with."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from app.config import Settings
from app.domain.errors import ConfigurationError, Conflict

SIMULATED, ARCHIVE = "simulated", "archive"
RUN_DATABASE = "alpha_trader.db"
_MARKET_FILE, _LOCK_FILE, RUNNING_FILE = "market.json", "trader.lock", "running.json"
DEFAULT_SEED = 7
DEFAULT_CASH = Decimal(100_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person asked of `trader up`; None where nothing was said. speed: simulated seconds per second."""

    data: Path | None = None
    start: date | None = None
    symbols: tuple[str, ...] | None = None
    seed: int | None = None
    cash: Decimal | None = None
    speed: float = 60.0
    cycles: int | None = None
    port: int | None = None
    nightly: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """What a simulated run replays. data: path of bars, empty for the generated market. start: empty for the default."""

    data: str
    start: str
    seed: int
    symbols: tuple[str, ...]
    cash: str

    @property
    def identity(self) -> str:
        """Name of the bars behind the run: models learned on one market are never used on another."""
        if not self.data:
            return f"generated-{self.seed}"
        path = Path(self.data)
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as fault:
            raise ConfigurationError(f"cannot read the bars in {path}: {fault.strerror}") from None
        return f"{''.join(c if c.isalnum() else '-' for c in path.stem)[:40]}-{digest[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A simulated run on disk. archived: where the run that was there before has gone."""

    directory: Path
    market: Market
    resumed: bool
    archived: Path | None


def open_run(
    state_dir: Path, wish: Wish, watchlist: tuple[str, ...], *, at: datetime, check: Callable[[Market], None] = lambda _: None
) -> Run:
    """The saved run, or a new one when a start, or other data, seed, symbols or cash than the saved one's, are asked for.

    check: raises when a market cannot be replayed; asked before a new run takes the place of the saved one."""
    directory = state_dir / SIMULATED
    saved = _saved_market(directory)
    wanted = _wanted(saved, wish, watchlist)
    resumed = saved is not None and wish.start is None and wanted == saved
    archived = None
    if not resumed:
        check(wanted)
    if not resumed and directory.exists() and any(directory.iterdir()):
        archived = state_dir / ARCHIVE / f"{at:%Y%m%dT%H%M%S}"
        archived.parent.mkdir(parents=True, exist_ok=True)
        directory.rename(archived)
    directory.mkdir(parents=True, exist_ok=True)
    if not resumed:
        write_private(directory / _MARKET_FILE, asdict(wanted))
    return Run(directory=directory, market=wanted, resumed=resumed, archived=archived)


def run_environment(run: Run, chosen: Settings, exchange_url: str) -> dict[str, str]:
    """Settings for every process of a simulated run. What the person set by hand stays as it is."""
    stream = exchange_url.replace("http://", "ws://")
    said = chosen.model_fields_set
    values = {
        "TRADING_MODE": "simulated",
        "ALPACA_TRADING_URL": exchange_url,
        "ALPACA_DATA_URL": exchange_url,
        "ALPACA_TRADING_STREAM_URL": f"{stream}/stream",
        "ALPACA_DATA_STREAM_URL": f"{stream}/v2/iex",
        "WATCHLIST": " ".join(run.market.symbols),
        "STATE_DIR": str(run.directory.resolve()),
    }
    if "database_url" not in said:
        values["DATABASE_URL"] = f"sqlite:///{(run.directory / RUN_DATABASE).resolve()}"
    if "models_dir" not in said:
        values["MODELS_DIR"] = str((chosen.models_dir / run.market.identity).resolve())
    if "params_dir" not in said:
        values["PARAMS_DIR"] = str((chosen.params_dir / run.market.identity).resolve())
    return values


class InstanceLock:
    """One installation per state directory. The kernel lets go of it when the process ends, however that happens."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / _LOCK_FILE
        self._file: IO[str] | None = None

    def take(self) -> None:
        """Conflict, with the holder's pid, when another process has it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise Conflict(
                f"Alpha Trader runs already in {self._path.parent} (pid {holder}); stop it first: kill {holder}"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        """Let go."""
        if self._file is not None:
            self._file.close()
            self._file = None


def write_private(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON for this user's eyes only, whole or not at all."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(value, file, indent=2, default=str)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _saved_market(directory: Path) -> Market | None:
    """The saved run's market; a file that cannot be read counts as none (the directory is archived, not deleted)."""
    try:
        known = json.loads((directory / _MARKET_FILE).read_text())
        return Market(
            data=str(known["data"]),
            start=str(known["start"]),
            seed=int(known["seed"]),
            symbols=tuple(str(s) for s in known["symbols"]),
            cash=str(known["cash"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _wanted(saved: Market | None, wish: Wish, watchlist: tuple[str, ...]) -> Market:
    base = saved or Market(data="", start="", seed=DEFAULT_SEED, symbols=watchlist, cash=str(DEFAULT_CASH))
    return replace(
        base,
        data=str(wish.data.resolve()) if wish.data else base.data,
        # A start belongs to its data: another file begins where that file's default is.
        start=str(wish.start) if wish.start else ("" if wish.data and str(wish.data.resolve()) != base.data else base.start),
        seed=base.seed if wish.seed is None else wish.seed,
        symbols=wish.symbols or base.symbols,
        cash=base.cash if wish.cash is None else str(wish.cash),
    )
