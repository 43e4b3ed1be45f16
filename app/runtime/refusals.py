"""What no process starts with where others can reach it or money is at stake. Each fault names the setting and its mend, and
never shows a value."""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from app.domain.password import guessable, password_fault, secret_fault

_NEW_SECRET = "set another one: openssl rand -hex 32"  # noqa: S105 - how to make one
_QUEUES = frozenset({"redis", "rediss", "valkey", "valkeys", "sentinel"})
_ON = frozenset({"1", "true", "yes", "on", "t", "y"})
_READABLE_BY_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MOUNTED_SECRETS = Path("/run/secrets")  # a container's own: whoever runs in it is the one who may read them


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def binds_beyond(bind: str) -> bool:
    """Whether an address to listen on, as gunicorn takes it (host:port, several apart by commas, unix:path), can be reached
    from elsewhere."""
    places = [place.strip() for place in bind.split(",") if place.strip()]
    return any(not place.startswith("unix:") and not is_loopback(place.rpartition(":")[0] or place) for place in places)


def key_faults(name: str, key: str, default: str) -> Iterator[str]:
    """Of a key that signs tokens."""
    fault = "is the default" if key == default else secret_fault(key)
    if fault is not None:
        yield f"{name} {fault}; {_NEW_SECRET}"


def password_faults(name: str, password: str, username: str, default: str) -> Iterator[str]:
    """Of the first account's password."""
    fault = "is the default" if password == default else password_fault(password, username)
    if fault is not None:
        yield f"{name} {fault}; take a longer one that nobody guesses: openssl rand -base64 18"


def queue_faults(name: str, url: str) -> Iterator[str]:
    """Whoever can write to the queue can have work done: it asks for a password, or is a socket of this machine's."""
    parts = urlsplit(url)
    host, password = parts.hostname or "", unquote(parts.password or "")
    if parts.scheme in _QUEUES and host:
        if not password:
            yield f"{name} has no password; set one there (requirepass) and in the URL: redis://:PASSWORD@HOST:PORT/0"
        elif guessable(password) is not None or len(password) < 12:
            yield f"{name} has a password that is easy to guess; {_NEW_SECRET}"
    if parts.scheme.startswith("amqp") and (parts.username in {None, "guest"} or password in {"", "guest"}):
        yield f"{name} uses the account guest of RabbitMQ; make one of your own and put it into the URL"


def database_faults(name: str, url: str) -> Iterator[str]:
    """Beyond this machine a database asks for a password that is not that of the manual."""
    parts = urlsplit(url)
    if not parts.scheme.startswith("postgres"):
        return
    password = unquote(parts.password or "")
    if not password and not is_loopback(parts.hostname or "localhost"):
        yield f"{name} has no password and leaves this machine; set one: ALTER ROLE ... PASSWORD, and put it into the URL"
    elif password and (password == unquote(parts.username or "") or guessable(password) is not None or len(password) < 12):
        yield f"{name} has a password that is easy to guess; {_NEW_SECRET}"


def clear_text_faults(name: str, url: str) -> Iterator[str]:
    """Keys of the venue travel with every request."""
    parts = urlsplit(url)
    if parts.scheme in {"http", "ws"} and not is_loopback(parts.hostname or ""):
        yield f"{name} would send the venue's keys over the network as clear text; use {parts.scheme}s://"


def proxy_faults(name: str, networks: str) -> Iterator[str]:
    """Whoever is a trusted proxy says from where requests come."""
    for text in networks.replace(",", " ").split():
        try:
            network = ipaddress.ip_network(text)
        except ValueError:
            yield f"{name}: {text[:50]!r} is not an address or a network such as 172.18.0.0/16"
        else:
            if network.prefixlen < (8 if network.version == 4 else 32):
                yield f"{name}: {text} trusts nearly everybody; name the proxy's own address or network"


def debug_faults(environment: Mapping[str, str]) -> Iterator[str]:
    """Switches of the web framework that show its inside to callers."""
    for name in ("FLASK_DEBUG", "TESTING", "FLASK_TESTING", "WERKZEUG_DEBUG"):
        if environment.get(name, "").strip().lower() in _ON:
            yield f"{name} is on; it is for development on this machine alone: unset {name}"
    if environment.get("FLASK_ENV", "").strip().lower() == "development":
        yield "FLASK_ENV=development is for this machine alone; unset FLASK_ENV"


def file_faults(files: Iterable[Path]) -> Iterator[str]:
    """Of files that hold secrets or hashes of passwords; those that are not there are no fault."""
    for file in files:
        try:
            mode = file.stat().st_mode
        except OSError:
            continue
        if mode & _READABLE_BY_OTHERS:
            yield f"{file} can be read or written by other users of this machine; run: chmod 600 {file}"


def secret_files(directory: str | None) -> list[Path]:
    """The files of SECRETS_DIR."""
    if not directory or Path(directory).resolve() == _MOUNTED_SECRETS:
        return []
    return sorted(path for path in Path(directory).glob("*") if path.is_file())


def database_files(url: str) -> list[Path]:
    """The files of a SQLite database."""
    if not url.startswith("sqlite:///"):
        return []
    file = url.removeprefix("sqlite:///").split("?")[0]
    return [Path(f"{file}{ending}") for ending in ("", "-wal", "-shm")]
