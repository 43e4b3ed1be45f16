"""`trader backup`: everything an installation knows in one file, and back."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from app.commands.console import actor, chosen_settings, out

backup = typer.Typer(
    name="backup",
    no_args_is_help=True,
    help="Ledger, models, tuned parameters, own strategies and risk state in one file; and back into a new installation.",
)

Source = Annotated[Path, typer.Argument(help="The backup.")]
Identity = Annotated[Path | None, typer.Option("--identity", "-i", help="File with the private key of an encrypted backup.")]


@backup.command()
def make(
    to: Annotated[Path | None, typer.Option("--to", help="Directory; else BACKUP_DIR.")] = None,
    keep: Annotated[int | None, typer.Option("--keep", min=0, help="Newest backups that stay there; else BACKUP_KEEP.")] = None,
) -> None:
    """Write a backup while everything goes on. Encrypted where BACKUP_RECIPIENT names a public key."""
    from app.storage.archive import pack
    from app.wiring import build_backup

    chosen = chosen_settings()
    sealed = partial(pack, recipient=chosen.backup_recipient)
    kept = chosen.backup_keep if keep is None else keep
    path, manifest = build_backup(chosen).write(to or chosen.backup_dir, sealed, keep=kept, progress=_say)
    _describe(manifest)
    out.print(f"[bold]{path}[/] ({path.stat().st_size / 1e6:.1f} MB, {_how(chosen.backup_recipient)})", soft_wrap=True)


@backup.command()
def restore(source: Source, identity: Identity = None) -> None:
    """Fill this new, empty installation from a backup. It begins halted: run `trader reconcile`, then resume with a reason."""
    from app.storage.archive import unpack
    from app.wiring import build_backup

    restored = build_backup(chosen_settings()).restore(source, partial(unpack, identity=identity), actor=actor(), progress=_say)
    _describe(restored)
    out.print("restored; the kill switch is engaged. Next: `trader reconcile`, then `trader risk resume --reason ...`")


@backup.command()
def check(source: Source, identity: Identity = None) -> None:
    """Read a backup to its end and compare every file with its digest; nothing is written."""
    from app.storage.archive import unpack

    with tempfile.TemporaryDirectory() as workplace:
        manifest = unpack(source, Path(workplace), identity=identity)
    _describe(manifest)
    out.print("every file is as its digest says")


@backup.command()
def key(file: Annotated[Path, typer.Argument(help="Where the private key goes. Keep it elsewhere than the backups.")]) -> None:
    """Make a key pair for encrypted backups (age); prints the public key for BACKUP_RECIPIENT."""
    from app.storage.archive import new_identity

    out.print(f"BACKUP_RECIPIENT={new_identity(file)}", soft_wrap=True)


def _describe(manifest: dict[str, Any]) -> None:
    rows = sum(manifest["rows"].values())
    out.print(
        f"made {manifest['made_at']} by {manifest['product']}, schema {manifest['schema']}: "
        f"{rows:,} rows of {len(manifest['rows'])} tables, {len(manifest['files'])} files",
        soft_wrap=True,
    )


def _how(recipient: str) -> str:
    return "encrypted" if recipient else "not encrypted: set BACKUP_RECIPIENT before it leaves this machine"


def _say(line: str) -> None:
    out.print(f"[dim]{line}[/]")
