"""Processes of the installation: started, watched, started again when they die, stopped so that none is left.

Each role is a process group of its own, and on Linux the kernel kills its leader when this process dies, however that happens.
Single-threaded: the owner calls `tend` whenever it waits, so children are always forked from a quiet process.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from app.domain.errors import AlphaTraderError

_BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
_CALM_SECONDS = 60.0  # a role that ran this long starts its count of crashes anew
_LOG_BYTES = 20_000_000
_CRASHES_AT_START = 3  # a role that never came up and ends again and again will not come up
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class RoleFailed(AlphaTraderError):
    """A process of the installation cannot be kept alive; the message says which and shows the end of its log."""

    code = "role_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One process. is_healthy: called with its pid, quickly true or false. stops_last: others depend on it while they stop."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    is_healthy: Callable[[int], bool]
    start_seconds: float = 30.0
    stops_last: bool = False


@dataclass(slots=True)
class _Run:
    role: Role
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    crashes: int = 0
    due_at: float = 0.0
    exits: deque[int] = field(default_factory=lambda: deque(maxlen=10))
    log_from: int = 0


class Supervisor:
    """Keeps roles alive. `say` gets one line for each thing a person should know. backoff: seconds before each new start."""

    def __init__(self, logs_dir: Path, *, say: Callable[[str], None], backoff: Sequence[float] = _BACKOFF_SECONDS) -> None:
        self._logs = logs_dir
        self._say = say
        self._backoff = backoff
        self._runs: dict[str, _Run] = {}
        logs_dir.mkdir(parents=True, exist_ok=True)

    def start(self, role: Role) -> None:
        """Start a role; does not wait for its health."""
        run = self._runs[role.name] = _Run(role, log_from=_size(self._logs / f"{role.name}.log"))
        self._spawn(run)

    def await_health(self, name: str, pause: Callable[[float], None]) -> float:
        """Wait until the role is healthy; seconds since its start. RoleFailed when it dies for good or takes too long."""
        run = self._runs[name]
        deadline = time.monotonic() + run.role.start_seconds
        while run.process is None or run.process.poll() is not None or not run.role.is_healthy(run.process.pid):
            if run.crashes >= _CRASHES_AT_START:
                raise RoleFailed(f"{name} ends each time it is started{self._log_end(name)}")
            if time.monotonic() > deadline:
                raise RoleFailed(f"{name} did not come up in {run.role.start_seconds:.0f} s{self._log_end(name)}")
            pause(0.05)
        return time.monotonic() - run.started_at

    def tend(self) -> list[str]:
        """Look after every role once, without waiting; names of those started again. RoleFailed: one cannot be kept alive."""
        restarted = []
        now = time.monotonic()
        for run in self._runs.values():
            if run.process is not None and run.process.poll() is not None:
                self._bury(run, now)
            if run.process is None and now >= run.due_at:
                self._spawn(run)
                restarted.append(run.role.name)
        return restarted

    def restart(self, name: str) -> None:
        """Kill a role that runs but does no work; `tend` starts it again."""
        run = self._runs[name]
        if run.process is not None:
            _kill_group(run.process.pid)

    def pids(self) -> dict[str, int]:
        """Leader of each role that runs."""
        return {name: run.process.pid for name, run in self._runs.items() if run.process is not None}

    def stop(self, *, seconds: float = 9.0) -> None:
        """Stop everything within `seconds`: first those who work, then those they depend on; what does not go is killed."""
        began = time.monotonic()
        for last, share in ((False, 0.65), (True, 1.0)):
            group = [run for run in self._runs.values() if run.role.stops_last is last and run.process is not None]
            for run in group:
                _signal_leader(run.process, signal.SIGTERM)
            for run in group:
                if run.process is not None:
                    left = max(0.05, began + share * seconds - time.monotonic())
                    with suppress(subprocess.TimeoutExpired):
                        run.process.wait(timeout=left)
                    _kill_group(run.process.pid)
                    run.process.wait()
                    run.process = None
        self._runs.clear()

    def _spawn(self, run: _Run) -> None:
        role = run.role
        log = self._logs / f"{role.name}.log"
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
            run.log_from = 0
        with log.open("ab") as output:
            run.process = subprocess.Popen(  # noqa: S603 - our own commands
                role.command,
                env={**os.environ, **role.environment, "ALPHA_TRADER_ROLE": role.name},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 - this process has one thread
            )
        run.started_at = time.monotonic()

    def _bury(self, run: _Run, now: float) -> None:
        assert run.process is not None  # noqa: S101 - narrows the type; callers look first
        _kill_group(run.process.pid)  # what the leader left behind
        run.exits.append(run.process.returncode)
        run.process = None
        run.crashes = 1 if now - run.started_at > _CALM_SECONDS else run.crashes + 1
        if run.crashes > len(self._backoff):
            raise RoleFailed(f"{run.role.name} died {run.crashes} times in a row{self._log_end(run.role.name)}")
        wait = self._backoff[run.crashes - 1]
        run.due_at = now + wait
        self._say(f"{run.role.name} {_ended(run.exits[-1])}; starting it again")

    def _log_end(self, name: str) -> str:
        path = self._logs / f"{name}.log"
        try:
            with path.open("rb") as file:
                file.seek(self._runs[name].log_from if name in self._runs else 0)
                written = file.read().decode(errors="replace").splitlines()
            lines = list(dict.fromkeys(written))[-8:]  # each start may say the same
        except OSError:
            lines = []
        return f"; {path} ends:\n" + "\n".join(f"    {line[:400]}" for line in lines)


def _die_with(parent: int) -> Callable[[], None] | None:
    if _LIBC is None:
        return None
    prctl = _LIBC.prctl

    def bind() -> None:
        prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return bind


def _signal_leader(process: subprocess.Popen[bytes] | None, number: int) -> None:
    if process is not None and process.poll() is None:
        process.send_signal(number)


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # gone; on macOS a group of zombies answers with the latter
        os.killpg(pid, signal.SIGKILL)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _ended(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
