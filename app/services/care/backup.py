"""BackupService: everything an installation knows in one file, and back into a new one, which begins halted."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.domain.errors import Conflict, InvalidInput
from app.domain.ports import Clock
from app.runtime.kill_file import KillFile
from app.services.database_service import DatabaseService

Pack = Callable[[Path, Mapping[str, Any], Path], dict[str, Any]]
Unpack = Callable[[Path, Path], dict[str, Any]]
Progress = Callable[[str], None]

FORMAT = 1
NAME = "alpha-trader-{at:%Y%m%dT%H%M%SZ}.backup"
README = "README.md"  # of the product, not of the installation
_TABLES, _FILES = "tables", "files"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A directory of the installation. only: the entries that are kept; empty: all of them."""

    directory: Path
    only: tuple[str, ...] = ()

    def files(self) -> Iterator[tuple[Path, Path]]:
        """(file, its path inside) of everything kept."""
        roots = [self.directory / name for name in self.only] or [self.directory]
        for root in roots:
            for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
                if path.name != README and (path.is_symlink() or path.is_file()):
                    yield path, path.relative_to(self.directory)


class BackupService:
    """places: directories by the name they have in a backup. state_dir: where the kill file goes after a restore.
    pack, unpack: see `app.storage.archive`."""

    def __init__(
        self,
        database: DatabaseService,
        *,
        places: Mapping[str, Place],
        state_dir: Path,
        version: str,
        clock: Clock,
    ) -> None:
        self._database = database
        self._places = places
        self._kill_file = KillFile(state_dir)
        self._version = version
        self._clock = clock

    def write(self, directory: Path, pack: Pack, *, keep: int = 0, progress: Progress = print) -> tuple[Path, dict[str, Any]]:
        """Writes a new backup into `directory`: its path and manifest. Others may go on working meanwhile. keep: how many of
        the newest backups there stay, this one included; 0: all."""
        target = directory / NAME.format(at=self._clock.now())
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".backup-", dir=directory) as workplace:
            parts = Path(workplace)
            counts = self._write_tables(parts / _TABLES, progress)
            copied = self._copy_files(parts / _FILES)
            progress(f"{copied} files")
            facts = {
                "format": FORMAT,
                "product": self._version,
                "schema": self._database.schema(),
                "made_at": self._clock.now().isoformat(),
                "rows": counts,
            }
            manifest = pack(parts, facts, target)
        if keep:
            for old in sorted(directory.glob("alpha-trader-*.backup"))[:-keep]:
                old.unlink()
                progress(f"{old.name} removed")
        return target, manifest

    def restore(self, source: Path, unpack: Unpack, *, actor: str, progress: Progress = print) -> dict[str, Any]:
        """Puts a backup into this empty installation and returns its manifest. The kill switch is engaged before anything is
        there to trade with; a person compares the books with the venue's and resumes. What is there already is never
        overwritten: Conflict."""
        self._kill_file.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".restore-", dir=self._kill_file.path.parent) as workplace:
            parts = Path(workplace)
            manifest = unpack(source, parts)
            self._check(manifest)
            self._database.require_empty()
            moves = list(self._moves(parts / _FILES))
            self._kill_file.write(f"restored from {source.name}; compare the books (trader reconcile), then resume")
            for path, target in moves:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                shutil.copy2(path, target, follow_symlinks=False)
            progress(f"{len(moves)} files")

            def lines_of(name: str) -> Iterable[bytes]:
                progress(f"table {name}: {manifest['rows'].get(name, 0):,} rows")
                path = parts / _TABLES / f"{name}.jsonl.gz"
                return gzip.open(path, "rb") if path.exists() else ()

            counts = self._database.load(lines_of, actor=actor, source=source.name)
        if counts != {name: manifest["rows"].get(name, 0) for name in counts}:
            raise Conflict(f"the rows restored differ from the manifest of {source.name}; do not trade with this database")
        return manifest

    def _write_tables(self, directory: Path, progress: Progress) -> dict[str, int]:
        directory.mkdir()
        counts: dict[str, int] = {}

        def take(name: str, lines: Iterator[bytes]) -> None:
            with gzip.open(directory / f"{name}.jsonl.gz", "wb", compresslevel=3) as file:
                counts[name] = sum(1 for line in lines if file.write(line))
            progress(f"table {name}: {counts[name]:,} rows")

        self._database.dump(take)
        return counts

    def _copy_files(self, directory: Path) -> int:
        directory.mkdir()
        count = 0
        for name, place in self._places.items():
            for path, inside in place.files():
                target = directory / name / inside
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    shutil.copy2(path, target, follow_symlinks=False)
                except FileNotFoundError:  # drafts and answers come and go while everything runs
                    continue
                count += 1
        return count

    def _check(self, manifest: Mapping[str, Any]) -> None:
        if manifest.get("format") != FORMAT:
            raise InvalidInput(f"the backup has format {manifest.get('format')!r}, this version reads {FORMAT}")
        if manifest["schema"] != self._database.schema():
            raise InvalidInput(
                f"the backup was made by version {manifest['product']} with schema {manifest['schema']}, this version has "
                f"{self._database.schema()}: restore with that version, then upgrade"
            )

    def _moves(self, files: Path) -> Iterator[tuple[Path, Path]]:
        """(from, to) of every file. Raises Conflict where another one is in its place."""
        for name, place in self._places.items():
            for path in sorted((files / name).rglob("*")):
                target = place.directory / path.relative_to(files / name)
                if path.is_symlink() or path.is_file():
                    if (target.exists() or target.is_symlink()) and not _is_same(path, target):
                        raise Conflict(f"{target} is there already; move it away, nothing is overwritten", code="not_empty")
                    yield path, target


def _is_same(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
    return other.is_file() and one.read_bytes() == other.read_bytes()
