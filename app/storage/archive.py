"""A backup as one file: a compressed tar of named parts with their digests, encrypted for an age recipient or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pyrage

from app.domain.errors import ConfigurationError, InvalidInput
from app.runtime.whole_file import DRAFT_PREFIX, sync_directory

MANIFEST = "manifest.json"
_AGE = b"age-encryption.org/v1"
_CHUNK = 1 << 20
_PRIVATE = 0o600


def new_identity(path: Path) -> str:
    """Writes a new private key that only its owner may read, and returns the public one, the recipient."""
    identity = pyrage.x25519.Identity.generate()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    except FileExistsError:
        raise InvalidInput(f"{path} exists; nothing was overwritten. Name another file") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(f"# public key: {identity.to_public()}\n{identity}\n")
    return str(identity.to_public())


def pack(parts: Path, facts: Mapping[str, Any], target: Path, *, recipient: str = "") -> dict[str, Any]:
    """Writes the files below `parts` into `target`, whole or not at all, and returns the manifest: `facts` and the digest of
    each file. recipient: an age public key (age1...). Raises InvalidInput where `target` exists, ConfigurationError for a
    recipient that is none."""
    key = _recipient(recipient) if recipient else None
    if target.exists():
        raise InvalidInput(f"{target} exists; nothing was overwritten. Name another file")
    found = sorted(path for path in parts.rglob("*") if path.is_symlink() or path.is_file())
    links = {path.relative_to(parts).as_posix(): str(path.readlink()) for path in found if path.is_symlink()}
    files = [path for path in found if not path.is_symlink()]
    manifest = {**facts, "files": {path.relative_to(parts).as_posix(): _digest(path) for path in files}, "links": links}
    (parts / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=DRAFT_PREFIX, dir=target.parent) as workplace:
        plain = Path(workplace) / "plain"
        with tarfile.open(plain, "w:gz", compresslevel=3) as tar:
            for path in (parts / MANIFEST, *files):
                tar.add(path, arcname=path.relative_to(parts).as_posix())
        finished = plain
        if key is not None:
            finished = Path(workplace) / "sealed"
            pyrage.encrypt_file(str(plain), str(finished), [key])
        finished.chmod(_PRIVATE)
        with finished.open("rb") as file:
            os.fsync(file.fileno())
        finished.rename(target)
    sync_directory(target.parent)
    return manifest


def unpack(source: Path, parts: Path, *, identity: Path | None = None) -> dict[str, Any]:
    """Puts the files of an archive below the empty directory `parts`, each as its digest says, and returns the manifest.
    identity: the file with the private key of an encrypted one. Raises InvalidInput for what is no sound archive."""
    with tempfile.TemporaryDirectory(prefix=DRAFT_PREFIX, dir=parts) as workplace:
        opened = _opened(source, Path(workplace) / "plain", identity)
        try:
            with tarfile.open(opened, "r:gz") as tar:
                manifest = _manifest(tar)
                for member in tar:
                    _take(tar, member, manifest["files"], parts)
        except (tarfile.TarError, EOFError, OSError, KeyError, ValueError) as fault:
            raise InvalidInput(f"{source.name} is damaged or no backup: {fault}") from None
        missing = [name for name in manifest["files"] if not (parts / name).is_file()]
        if missing:
            raise InvalidInput(f"{source.name} is cut short: it lacks {missing[0]}")
        for name, target in manifest["links"].items():
            _link(parts, name, target)
    return manifest


def _opened(source: Path, plain: Path, identity: Path | None) -> Path:
    try:
        with source.open("rb") as file:
            is_sealed = file.read(len(_AGE)) == _AGE
    except OSError as fault:
        raise InvalidInput(f"{source} cannot be read: {fault.strerror}") from None
    if not is_sealed:
        return source
    if identity is None:
        raise InvalidInput(f"{source.name} is encrypted; name the file with its private key (--identity)")
    try:
        pyrage.decrypt_file(str(source), str(plain), _identities(identity))
    except (pyrage.DecryptError, OSError) as fault:
        raise InvalidInput(f"{source.name} cannot be decrypted with {identity.name}: {fault}") from None
    return plain


def _manifest(tar: tarfile.TarFile) -> dict[str, Any]:
    first = tar.next()
    content = tar.extractfile(first) if first is not None and first.name == MANIFEST and first.isfile() else None
    if content is None:
        raise ValueError("it does not begin with a manifest")
    manifest: dict[str, Any] = json.load(content)
    return manifest


def _take(tar: tarfile.TarFile, member: tarfile.TarInfo, digests: Mapping[str, str], parts: Path) -> None:
    if member.name == MANIFEST:
        return
    path = PurePosixPath(member.name)
    content = tar.extractfile(member) if member.isfile() and member.name in digests else None
    if content is None or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"unexpected {member.name[:80]}")
    target = parts / path
    target.parent.mkdir(parents=True, exist_ok=True)
    with content, target.open("xb") as file:
        shutil.copyfileobj(content, file, _CHUNK)
    if _digest(target) != digests[member.name]:
        raise ValueError(f"{member.name} is not what the manifest says")


def _link(parts: Path, name: str, target: str) -> None:
    """A link to something of the archive, as models have to their current version."""
    place = parts / name
    is_inside = (place.parent / target).resolve().is_relative_to(parts.resolve())
    if PurePosixPath(target).is_absolute() or ".." in PurePosixPath(name).parts or not is_inside:
        raise InvalidInput(f"the archive has a link that leads out of it: {name[:80]}")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _recipient(text: str) -> Any:
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        raise ConfigurationError("BACKUP_RECIPIENT is no age public key (age1...); make one with `trader backup key`") from None


def _identities(path: Path) -> list[Any]:
    try:
        lines = path.read_text().split()
    except OSError as fault:
        raise InvalidInput(f"the private key cannot be read: {fault.strerror}") from None
    found: Iterable[str] = (line for line in lines if line.startswith("AGE-SECRET-KEY-"))
    try:
        return [pyrage.x25519.Identity.from_str(line) for line in found]
    except pyrage.IdentityError:
        raise InvalidInput(f"{path.name} holds no age private key") from None
