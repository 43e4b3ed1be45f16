"""Where compiled code is kept between runs: a directory named by everything that it was compiled from.

numba keeps a compiled function under a stamp of the function's own file. A function that has others inlined into it (the loop
of the portfolio has the rules, the rules have the limits of `app/risk`) would be taken from the cache although an inlined one
has changed: trading would go on with the old limit. So each state of the sources has a directory of its own, and nothing in it
can be stale.

What decides the name: path, text and time of change of every module that is compiled or imported by one that is, the Python,
and the installed versions of what compiles. (The processor is part of numba's own key.) The time of change is there for a
process that lives while its sources are replaced: what it still compiles, into its directory, belongs to no state that a later
start can see.

COMPILED_CACHE_DIR, read from the environment alone, says where the directories lie; the default is the user's cache directory.
Where that cannot be written, a directory of this user's below the system's temporary one takes its place, and that is said
once. Directories that no process has started with for `KEPT_DAYS` are removed when a new one is made. Any of them may be
deleted at any time.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from contextlib import suppress
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path

SETTING = "COMPILED_CACHE_DIR"
KEPT_DAYS = 7
# Packages that hold compiled functions, with all that they may import: these layers know none above them.
COMPILED_FROM = ("domain", "indicators", "strategies", "risk", "engine", "backtest", "learning")
_COMPILERS = ("numba-", "llvmlite-", "numpy-")
_DIGEST_BYTES = 16


def use_compiled_cache() -> Path:
    """Makes numba keep compiled code in the directory of the present sources, here and in processes started here; its path.

    To be called before anything is compiled; `import app` does it. Costs milliseconds: numba itself is not imported.
    """
    directory = _usable(_chosen(), digest(Path(__file__).parent))
    os.environ["NUMBA_CACHE_DIR"] = str(directory)
    # No other place: numba would else fall back to __pycache__, under its own stamp.
    os.environ["NUMBA_CACHE_LOCATOR_CLASSES"] = "UserProvidedCacheLocator"
    if numba := sys.modules.get("numba"):
        numba.core.config.reload_config()
    return directory


def digest(package: Path) -> str:
    """What compiled code of the package at `package` depends on, as hexadecimal digits."""
    found = blake2b(digest_size=_DIGEST_BYTES)
    found.update("\0".join((sys.version, sys.prefix, *_compilers())).encode())
    for layer in COMPILED_FROM:
        for place, directories, names in os.walk(package / layer):
            directories.sort()
            for name in sorted(names):
                if name.endswith(".py"):
                    path = f"{place}/{name}"
                    with open(path, "rb") as source:  # noqa: PTH123 - a third of pathlib's time, at every start
                        changed, text = os.fstat(source.fileno()).st_mtime_ns, source.read()
                    found.update(f"\0{path}\0{changed}\0{len(text)}\0".encode())
                    found.update(text)
    return found.hexdigest()


def _compilers() -> list[str]:
    """The installed versions of what compiles, by the names of their metadata; reading these would take longer."""
    numba = find_spec("numba")
    if numba is None or numba.origin is None:
        return []
    installed = os.listdir(Path(numba.origin).parents[1])  # noqa: PTH208 - names are all that is needed
    return sorted(name for name in installed if name.startswith(_COMPILERS))


def _chosen() -> Path:
    """Where the directories shall lie."""
    if said := os.environ.get(SETTING):
        return Path(said).absolute()
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(caches)) / "alpha-trader" / "compiled"  # noqa: PTH111 - no error where there is no home


def _usable(base: Path, name: str) -> Path:
    """The directory `name` below `base`, or below a temporary directory when it cannot be written there."""
    try:
        if not base.is_absolute():
            raise FileNotFoundError(f"no home directory: {base}")
        return _opened(base, name)
    except OSError as fault:
        temporary = _temporary()
        os.environ[SETTING] = str(temporary)  # processes started from here take it, silently
        sys.stderr.write(
            f"alpha-trader: compiled code cannot be kept in {base} ({fault.strerror or fault}); it goes to {temporary}; "
            f"{SETTING} says where else\n"
        )
        return _opened(temporary, name)


def _opened(base: Path, name: str) -> Path:
    """The directory, made when it is new, marked as used now. Raises OSError when it cannot be written."""
    directory = base / name
    if not directory.is_dir():
        directory.mkdir(parents=True, exist_ok=True)
        _remove_unused(base)
    os.utime(directory)
    return directory


def _remove_unused(base: Path) -> None:
    """Removes the directories of other states that no process has started with for `KEPT_DAYS`."""
    import shutil

    oldest = time.time() - KEPT_DAYS * 86_400
    for other in base.iterdir():
        is_ours = len(other.name) == 2 * _DIGEST_BYTES and set(other.name) <= set("0123456789abcdef")
        with suppress(OSError):  # another process may be faster
            if is_ours and other.stat().st_mtime < oldest:
                shutil.rmtree(other, ignore_errors=True)


def _temporary() -> Path:
    """A directory below the temporary one that only this user can write to: what lies in a cache is executed."""
    import tempfile

    user = os.getuid() if hasattr(os, "getuid") else 0
    place = Path(tempfile.gettempdir()) / f"alpha-trader-{user}"
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        found = place.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o022:
            return place
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="alpha-trader-"))
