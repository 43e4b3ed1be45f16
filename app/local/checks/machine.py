"""This machine: the interpreter, disks, directories, files with secrets."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from app.config import Settings
from app.local.checks.finding import Finding, fail, ok, warn
from app.runtime.sqlite_version import SAFE_SQLITE, is_safe
from app.runtime.version import code_version

_FULL_BYTES, _TIGHT_BYTES = 500_000_000, 3_000_000_000
_SECRET_FILES = (".env",)


def product(chosen: Settings) -> Iterator[Finding]:
    """Versions of what runs."""
    yield ok("version", f"Alpha Trader {code_version()}, Python {platform.python_version()}, mode {chosen.trading_mode.value}")
    if chosen.database_url.startswith("sqlite") and not is_safe():
        safe = ".".join(map(str, SAFE_SQLITE))
        yield warn(
            "sqlite",
            f"SQLite {sqlite3.sqlite_version} can corrupt a database that several processes write to (rare)",
            f"install SQLite {safe} or later, or set DATABASE_URL to PostgreSQL; live mode refuses it",
        )


def directories(chosen: Settings) -> Iterator[Finding]:
    """Whether everything that is written can be, and has room to grow."""
    named = {
        "STATE_DIR": chosen.state_dir,
        "LOGS_DIR": chosen.logs_dir,
        "MODELS_DIR": chosen.models_dir,
        "PARAMS_DIR": chosen.params_dir,
        "BACKUP_DIR": chosen.backup_dir,
    }
    blocked = [f"{name}={path}" for name, path in named.items() if not os.access(_nearest(path), os.W_OK | os.X_OK)]
    if blocked:
        yield fail("directories", f"not writable: {', '.join(blocked)}", "let this user write there, or name others")
    else:
        yield ok("directories", "all writable")
    for device, names in _by_device(named.items()).items():
        yield _room(device, names)


def secrets(directory: Path) -> Iterator[Finding]:
    """Whether files with secrets are for their owner alone."""
    for name in _SECRET_FILES:
        path = directory / name
        if not path.exists():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            yield fail("secrets", f"{name} can be read by others (mode {mode:03o})", f"chmod 600 {name}")
        else:
            yield ok("secrets", f"{name} is for its owner alone")


def _nearest(path: Path) -> Path:
    """The directory itself, or the one it would be made in."""
    return next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())


def _by_device(named: Iterable[tuple[str, Path]]) -> dict[Path, list[str]]:
    found: dict[int, tuple[Path, list[str]]] = {}
    for name, path in named:
        near = _nearest(path)
        found.setdefault(near.stat().st_dev, (near, []))[1].append(name)
    return dict(found.values())


def _room(device: Path, names: list[str]) -> Finding:
    usage = shutil.disk_usage(device)
    said = f"{usage.free / 1e9:.1f} GB free of {usage.total / 1e9:.0f} GB for {', '.join(names)}"
    mend = "make room: `trader backup make` elsewhere, remove old logs and models, or move the directories"
    if usage.free < _FULL_BYTES:
        return fail("disk", said, mend)
    return warn("disk", said, mend) if usage.free < _TIGHT_BYTES else ok("disk", said)
