"""Which code runs."""

from __future__ import annotations

import subprocess
from functools import lru_cache
from pathlib import Path

from app import __version__

_ROOT = Path(__file__).parents[2]
_PATIENCE_SECONDS = 5


@lru_cache(maxsize=1)
def code_version() -> str:
    """The release, and where the code lies in a Git work tree also the commit, with `-dirty` when files were changed."""
    if not (_ROOT / ".git").exists():
        return __version__
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return __version__
    return f"{__version__}+{answer.stdout.strip()}"
