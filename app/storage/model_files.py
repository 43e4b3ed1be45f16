"""Models on disk: native booster files and a manifest that vouches for every byte of them.

    <root>/<SYMBOL>/current -> versions/<version>
    <root>/<SYMBOL>/versions/<version>/manifest.json, lightgbm-0.txt, ..., xgboost-5.ubj

A version's name ends in the SHA-256 of its manifest, the manifest names the SHA-256 of every file, and nothing else may
lie beside them; all of it is checked before one byte reaches a booster. Nothing here can execute anything. A version is
written aside, synced, then made current by one rename; the version before it is kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from app.domain.errors import InvalidInput
from app.learning.features import FEATURE_NAMES
from app.learning.model import ModelRefused, PublishedModel, Scores, StoredMember, TrainedModel
from app.learning.parameters import EnsembleParams
from app.runtime.whole_file import sync_directory, write_synced
from app.storage.file_names import file_name, symbol_of

FORMAT = 1
_MANIFEST = "manifest.json"
_CURRENT = "current"
_VERSIONS = "versions"
_VERSION = re.compile(r"\d{8}T\d{6}Z-([0-9a-f]{32})")
_SUFFIX = {"lightgbm": "txt", "xgboost": "ubj"}
_MOST_BYTES = 32 * 1024 * 1024


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^(lightgbm|xgboost)-\d{1,2}\.(txt|ubj)$")
    library: Literal["lightgbm", "xgboost"]
    scale: float = Field(gt=0, allow_inf_nan=False)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    symbol: str
    files: tuple[_File, ...] = Field(min_length=2, max_length=64)
    feature_names: tuple[str, ...]
    params: EnsembleParams
    params_source: str
    seed: int
    trained_at: AwareDatetime
    trained_through: AwareDatetime
    rows: int = Field(ge=1)
    libraries: dict[str, str]
    scores: Scores


class _Format(BaseModel):
    format: int


_MANIFEST_TYPE = TypeAdapter(_Manifest)


class ModelFiles:
    """The `ModelStore` in a directory. Trainers publish, traders only load; both may do so at the same time."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def symbols(self) -> list[str]:
        """Symbols that have a directory, in order."""
        if not self._root.is_dir():
            return []
        return sorted(s for s in (symbol_of(entry.name) for entry in self._root.iterdir() if entry.is_dir()) if s)

    def version(self, symbol: str) -> str:
        """Name of the current version: one look at a link. Raises ModelRefused(model_missing or model_corrupt)."""
        try:
            target = (self._home(symbol) / _CURRENT).readlink()
        except FileNotFoundError:
            raise ModelRefused("model_missing", f"{symbol} has no trained model") from None
        except OSError:
            raise ModelRefused("model_corrupt", f"{symbol}: 'current' is not a link to a version") from None
        if target.parts[:-1] != (_VERSIONS,) or not _VERSION.fullmatch(target.name):
            raise ModelRefused("model_foreign", f"{symbol}: 'current' does not lead to a version of this model")
        return target.name

    def load(self, symbol: str) -> PublishedModel:
        """The current model, every byte verified. Raises ModelRefused with the reason."""
        version = self.version(symbol)
        while True:
            try:
                return self._read(symbol, version)
            except ModelRefused:
                newest = self.version(symbol)
                if newest == version:
                    raise
                version = newest  # two newer versions were published while we read

    def publish(self, model: TrainedModel) -> str:
        """Write `model` beside the current version, then make it current; returns its version."""
        home = self._home(model.symbol)
        (home / _VERSIONS).mkdir(parents=True, exist_ok=True)
        with _lock(home):
            for left_over in home.glob(".writing-*"):
                shutil.rmtree(left_over)
            before = self._version_or_none(model.symbol)
            version = self._write(home, model)
            self._point(home, version)
            for old in (home / _VERSIONS).iterdir():
                if old.name not in {version, before}:
                    shutil.rmtree(old)
        return version

    def _home(self, symbol: str) -> Path:
        return self._root / file_name(symbol)

    def _version_or_none(self, symbol: str) -> str | None:
        try:
            return self.version(symbol)
        except ModelRefused:
            return None

    def _write(self, home: Path, model: TrainedModel) -> str:
        payloads = {f"{m.library}-{i}.{_SUFFIX[m.library]}": m.payload for i, m in enumerate(model.members)}
        payloads[_MANIFEST] = _manifest_bytes(model, payloads)
        digest = hashlib.sha256(payloads[_MANIFEST]).hexdigest()[:32]
        version = f"{model.trained_at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{digest}"
        place = home / _VERSIONS / version
        workplace = Path(tempfile.mkdtemp(prefix=".writing-", dir=home))
        for name, content in payloads.items():
            write_synced(workplace / name, content)
        sync_directory(workplace)
        workplace.chmod(0o755)
        if place.exists():  # the very same model again, perhaps damaged since
            shutil.rmtree(place)
        workplace.rename(place)
        sync_directory(place.parent)
        return version

    @staticmethod
    def _point(home: Path, version: str) -> None:
        link = home / f".pointing-{os.getpid()}"
        link.unlink(missing_ok=True)
        link.symlink_to(Path(_VERSIONS) / version)
        link.replace(home / _CURRENT)
        sync_directory(home)

    def _read(self, symbol: str, version: str) -> PublishedModel:
        place = self._home(symbol) / _VERSIONS / version
        content = _read_file(place, _MANIFEST, symbol)
        digest = hashlib.sha256(content).hexdigest()
        if not version.endswith(digest[:32]):
            raise ModelRefused("model_corrupt", f"{symbol}: {_MANIFEST} was changed after it was published")
        manifest = _parse(content, symbol)
        if manifest.symbol != symbol:
            raise ModelRefused("model_foreign", f"{symbol}: the model found here was trained for {manifest.symbol}")
        if manifest.feature_names != FEATURE_NAMES:
            raise ModelRefused("model_incompatible", f"{symbol}: the model was trained on other features; train it again")
        try:
            foreign = {entry.name for entry in place.iterdir()} - {file.name for file in manifest.files} - {_MANIFEST}
        except FileNotFoundError:
            raise ModelRefused("model_missing", f"{symbol}: the model was replaced while it was read") from None
        if foreign:
            raise ModelRefused("model_foreign", f"{symbol}: {min(foreign)!r:.60} does not belong to the model")
        members = tuple(_member(place, file, symbol) for file in manifest.files)
        model = TrainedModel(
            symbol=symbol,
            members=members,
            feature_names=manifest.feature_names,
            params=manifest.params,
            params_source=manifest.params_source,
            seed=manifest.seed,
            trained_at=manifest.trained_at,
            trained_through=manifest.trained_through,
            rows=manifest.rows,
            libraries=manifest.libraries,
            scores=manifest.scores,
        )
        return PublishedModel(version=version, model=model)


def _manifest_bytes(model: TrainedModel, payloads: dict[str, bytes]) -> bytes:
    manifest = _Manifest(
        format=FORMAT,
        symbol=model.symbol,
        files=tuple(
            _File(name=name, library=member.library, scale=member.scale, sha256=hashlib.sha256(payload).hexdigest())
            for member, (name, payload) in zip(model.members, payloads.items(), strict=True)
        ),
        feature_names=model.feature_names,
        params=model.params,
        params_source=model.params_source,
        seed=model.seed,
        trained_at=model.trained_at,
        trained_through=model.trained_through,
        rows=model.rows,
        libraries=model.libraries,
        scores=model.scores,
    )
    return _MANIFEST_TYPE.dump_json(manifest, indent=1) + b"\n"


def _parse(content: bytes, symbol: str) -> _Manifest:
    try:
        found = _Format.model_validate_json(content).format
        if found != FORMAT:
            raise ModelRefused("model_incompatible", f"{symbol}: the model has format {found}, this version reads {FORMAT}")
        return _MANIFEST_TYPE.validate_json(content)
    except (ValidationError, InvalidInput) as fault:
        raise ModelRefused("model_corrupt", f"{symbol}: {_MANIFEST} is not valid: {str(fault).splitlines()[0]}") from None


def _member(place: Path, file: _File, symbol: str) -> StoredMember:
    payload = _read_file(place, file.name, symbol)
    if hashlib.sha256(payload).hexdigest() != file.sha256:
        raise ModelRefused("model_corrupt", f"{symbol}: {file.name} is not the file that was published (SHA-256 differs)")
    return StoredMember(library=file.library, scale=file.scale, payload=payload)


def _read_file(place: Path, name: str, symbol: str) -> bytes:
    try:
        descriptor = os.open(place / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            plain = stat.S_ISREG(status.st_mode) and status.st_size <= _MOST_BYTES
            content = _read_whole(descriptor, status.st_size) if plain else None
        finally:
            os.close(descriptor)
    except OSError:
        raise ModelRefused("model_corrupt", f"{symbol}: {name} is missing or cannot be read") from None
    if content is None:
        raise ModelRefused("model_corrupt", f"{symbol}: {name} is not a plain file of a model's size")
    return content


def _read_whole(descriptor: int, size: int) -> bytes:
    parts = []
    while size > 0 and (part := os.read(descriptor, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


@contextmanager
def _lock(home: Path) -> Iterator[None]:
    with (home / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
