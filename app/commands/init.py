"""`trader init`: the files that an installation needs before its first start, made once and never overwritten."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from app.commands.console import errors, out
from app.domain.errors import ConfigurationError

SECRETS = "secrets"
ENVIRONMENT, EXAMPLE = ".env", ".env.example"
# The user of the container image where the files belong to root, who runs nothing inside.
CONTAINER_USER = 10001

Made = Mapping[str, str]

# In this order: the addresses hold the passwords made before them. Letters, digits, - and _ only, so that all fit a URL.
FILES: Mapping[str, Callable[[Made], str]] = {
    "secret_key": lambda _: secrets.token_hex(32),
    "admin_password": lambda _: secrets.token_urlsafe(18),
    "redis_password": lambda _: secrets.token_urlsafe(32),
    "redis_url": lambda made: f"redis://:{made['redis_password']}@redis:6379/0",
    "postgres_password": lambda _: secrets.token_urlsafe(32),
    "database_url": lambda made: f"postgresql+psycopg://alpha_trader:{made['postgres_password']}@postgres:5432/alpha_trader",
    "grafana_admin_password": lambda _: secrets.token_urlsafe(18),
    "flower_basic_auth": lambda _: f"admin:{secrets.token_urlsafe(18)}",
}


def init(
    directory: Annotated[Path, typer.Argument(help="The directory of docker-compose.yml and .env.example.")] = Path(),
) -> None:
    """Make .env and the secrets of an installation with Docker: random, one file each, readable by their owner only. What is
    there already stays as it is; run it as often as you like."""
    made = make_files(directory)
    for path in made:
        out.print(f"made {escape(str(path))}", soft_wrap=True)
    if not made:
        out.print("everything is there already; nothing was changed")
    for fault in loose_files(directory):
        errors.print(f"[yellow]{escape(fault)}[/]", soft_wrap=True)
    out.print(
        f"Next: docker compose up --build -d. The API's user is admin, its password stands in {SECRETS}/admin_password, "
        f"Grafana's in {SECRETS}/grafana_admin_password, Flower's in {SECRETS}/flower_basic_auth.",
        soft_wrap=True,
    )


def make_files(directory: Path) -> list[Path]:
    """The files that were missing and are there now, none half written. ConfigurationError where they cannot be made."""
    example = directory / EXAMPLE
    if not example.is_file():
        raise ConfigurationError(f"{directory.resolve()} holds no {EXAMPLE}: run this in the directory of docker-compose.yml")
    user, group = _container_owner()
    folder = directory / SECRETS
    new: list[Path] = []
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        _give(folder, user, group)
        contents: dict[str, str] = {}
        for name, make in FILES.items():
            path = folder / name
            if not path.exists():
                _write_once(path, make(contents) + "\n", user, group)
                new.append(path)
            contents[name] = path.read_text(encoding="utf-8").strip()
        environment = directory / ENVIRONMENT
        if not environment.exists():
            text = example.read_text(encoding="utf-8")
            owner = f"\n# --- Docker only: whose the files in {SECRETS}/ are; the containers run as this user ---\n"
            _write_once(environment, f"{text}{owner}TRADER_UID={user}\nTRADER_GID={group}\n", os.getuid(), os.getgid())
            new.append(environment)
    except OSError as fault:
        raise ConfigurationError(f"{fault.filename or folder} cannot be made: {fault.strerror}") from None
    return new


def loose_files(directory: Path) -> list[str]:
    """A sentence with the remedy for each file that others can read, that is empty, or that the containers could not read."""
    user, _ = _container_owner()
    faults = []
    for path in (directory / ENVIRONMENT, *(directory / SECRETS / name for name in FILES)):
        found = path.stat()
        if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            faults.append(f"{path} can be read by others: chmod 600 {path}")
        if not found.st_size:
            faults.append(f"{path} is empty: remove it and run this again")
        if path.parent.name == SECRETS and found.st_uid != user:
            faults.append(f"{path} belongs to user {found.st_uid}: chown {user} {path}, or the containers cannot read it")
    if "TRADER_UID=" not in (directory / ENVIRONMENT).read_text(encoding="utf-8") and user != CONTAINER_USER:
        faults.append(f"{directory / ENVIRONMENT} does not say whose the secrets are: add the line TRADER_UID={user}")
    return faults


def _container_owner() -> tuple[int, int]:
    """User and group that the files get and the containers run as: those of whoever runs this, but never root."""
    user, group = os.getuid(), os.getgid()
    return (user, group) if user else (CONTAINER_USER, CONTAINER_USER)


def _write_once(path: Path, text: str, user: int, group: int) -> None:
    """The whole file under its name, or nothing: it is linked to its name when it is complete, which fails if there is one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        _give(draft, user, group)
        os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _give(path: Path, user: int, group: int) -> None:
    if os.getuid() == 0:
        os.chown(path, user, group)
