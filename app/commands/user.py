"""`trader user`: accounts, by whoever may run commands on this machine. The way back in when a password or a telephone is
lost."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated

import typer
from rich.markup import escape

from app.commands.console import actor, chosen_settings, out, print_rows
from app.config import Settings, TradingMode
from app.domain.account import Role, Scope
from app.domain.errors import InvalidInput
from app.local.session import RUN_DATABASE, SIMULATED
from app.services.accounts.accounts import Accounts

user = typer.Typer(
    name="user",
    help="Accounts: viewers look, operators also run things and halt, admins also resume. Works while nothing runs.",
    no_args_is_help=True,
)
tokens = typer.Typer(name="tokens", help="Tokens for scripts: some of an account's scopes, until a date.", no_args_is_help=True)
sessions = typer.Typer(name="sessions", help="Logins that stand.", no_args_is_help=True)
user.add_typer(tokens)
user.add_typer(sessions)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the account.")]
FromInput = Annotated[bool, typer.Option("--password-stdin", help="Read the password from the standard input.")]
Generate = Annotated[bool, typer.Option("--generate", help="Make a password and show it once.")]


@user.command(name="list")
def show() -> None:
    """All accounts."""
    with _accounts() as held:
        print_rows(
            {
                "name": one.username,
                "role": one.role.value,
                "state": "disabled" if one.disabled_at else "enabled",
                "authenticator": "yes" if one.has_totp else "no",
                "password": "of the settings" if one.password_by_settings else "own",
                "sessions": len(held.database.sessions(one)),
            }
            for one in held.database.users()
        )


@user.command(epilog="Example: trader user add anna --role operator")
def add(
    name: Name,
    role: Annotated[Role, typer.Option(help="viewer: looks. operator: runs things, halts. admin: resumes too.")] = Role.VIEWER,
    password_stdin: FromInput = False,
    generate: Generate = False,
) -> None:
    """A new account. Asks for its password."""
    with _accounts() as held:
        made = held.add(name, _password(stdin=password_stdin, generate=generate), role, actor=actor())
        out.print(f"added {made.username}, {made.role.value}")


@user.command()
def passwd(name: Name, password_stdin: FromInput = False, generate: Generate = False) -> None:
    """Another password; all sessions of the account end. No old password is asked for: this is the way back in."""
    with _accounts() as held:
        found = held.named(name)
        held.set_password(found, _password(stdin=password_stdin, generate=generate), actor=actor())
        out.print(f"the password of {found.username} is changed; its sessions are over")


@user.command(epilog="Example: trader user role anna admin")
def role(name: Name, role: Annotated[Role, typer.Argument(help="viewer, operator or admin")]) -> None:
    """Another role, from the next request on."""
    with _accounts() as held:
        held.set_role(held.named(name), role, actor=actor())
        out.print(f"{name} is {role.value}")


@user.command()
def disable(name: Name) -> None:
    """Nobody gets in as this any more: neither by password nor by token. The last admin cannot be disabled."""
    with _accounts() as held:
        held.disable(held.named(name), actor=actor())
        out.print(f"{name} is disabled")


@user.command()
def enable(name: Name) -> None:
    """Undo disable."""
    with _accounts() as held:
        held.enable(held.named(name), actor=actor())
        out.print(f"{name} is enabled")


@user.command(epilog="Lost the telephone: trader user totp NAME --off")
def totp(
    name: Name, off: Annotated[bool, typer.Option("--off", help="Take the authenticator app away; sessions end.")] = False
) -> None:
    """Enrol an authenticator app: logins, and what takes on risk, then ask for its code."""
    with _accounts() as held:
        found = held.named(name)
        if off:
            held.remove_totp(found, actor=actor())
            out.print(f"{name} logs in with its password alone")
            return
        secret, uri = held.begin_totp(found, actor=actor())
        out.print(f"Enter this secret in the app:\n  {secret}\nor make a QR code of:\n  {escape(uri)}", soft_wrap=True)
        held.confirm_totp(held.named(name), typer.prompt("Code that the app shows now"), actor=actor())
        out.print("codes are asked for from now on")


@tokens.command(name="list")
def list_tokens(name: Name) -> None:
    """Tokens of an account; their texts cannot be shown again."""
    with _accounts() as held:
        print_rows(
            {
                "id": one.token_id,
                "name": one.name,
                "scopes": " ".join(sorted(one.scopes)),
                "until": _minute(one.expires_at),
                "last used": _minute(one.used_at),
                "revoked": _minute(one.revoked_at),
            }
            for one in held.database.api_tokens(held.named(name))
        )


@tokens.command(name="add", epilog="Example: trader user tokens add anna dashboard --scope read --days 30")
def add_token(
    name: Name,
    title: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[list[Scope], typer.Option(help="read, run or halt; several times for several.")] = [Scope.READ],  # noqa: B006
    days: Annotated[int, typer.Option(min=1, max=366, help="How long it is good.")] = 90,
) -> None:
    """A token for a script, sent as 'Authorization: Bearer TOKEN'. It cannot resume trading or change accounts."""
    with _accounts() as held:
        token, text = held.add_token(held.named(name), name=title, scopes=frozenset(scope), days=days, actor=actor())
        out.print(f"good until {_minute(token.expires_at)} UTC; shown this once:\n{text}", soft_wrap=True)


@tokens.command()
def revoke(name: Name, token_id: Annotated[str, typer.Argument(metavar="ID", help="As `tokens list` shows it.")]) -> None:
    """It is worth nothing any more."""
    with _accounts() as held:
        held.revoke_token(held.named(name), token_id, actor=actor())
        out.print(f"revoked {token_id}")


@sessions.command(name="list")
def list_sessions(name: Name) -> None:
    """Where an account is logged in."""
    with _accounts() as held:
        print_rows(
            {
                "id": one.session_id,
                "since": _minute(one.created_at),
                "last refreshed": _minute(one.used_at),
                "from": one.address,
                "by": one.agent[:40],
            }
            for one in held.database.sessions(held.named(name))
        )


@sessions.command()
def end(
    name: Name, session_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="One of them; without it all.")] = None
) -> None:
    """Log an account out everywhere, or one of its sessions."""
    with _accounts() as held:
        count = held.logins.end(held.named(name), actor=actor(), why="ended on the machine", only=session_id)
        out.print(f"{count} sessions ended")


@contextmanager
def _accounts() -> Iterator[Accounts]:
    from app.wiring import build_accounts

    chosen = _of_saved_run(chosen_settings())
    held = build_accounts(chosen)
    held.seed(chosen.admin_username, chosen.admin_password.get_secret_value())
    try:
        yield held
    finally:
        held.database.close()


def _of_saved_run(chosen: Settings) -> Settings:
    """In the simulated mode the accounts are those of the saved run, also while it does not run."""
    directory = chosen.state_dir / SIMULATED
    if chosen.trading_mode is not TradingMode.SIMULATED or "database_url" in chosen.model_fields_set or not directory.is_dir():
        return chosen
    return chosen.model_copy(update={"state_dir": directory, "database_url": f"sqlite:///{directory / RUN_DATABASE}"})


def _password(*, stdin: bool, generate: bool) -> str:
    if generate:
        made = secrets.token_urlsafe(15)
        out.print(f"password, shown this once: {made}")
        return made
    if stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise InvalidInput("there is no terminal to ask on; use --password-stdin or --generate")
    asked: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return asked


def _minute(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M}"
