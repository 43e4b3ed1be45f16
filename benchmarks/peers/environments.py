"""An environment of its own for each peer, made on demand from the pins beside this file and kept under a cache directory."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def python_of(peer: str) -> Path:
    """The interpreter of a peer's environment. BENCH_CACHE: where environments are kept (default: the user's cache)."""
    pins = HERE / f"{peer}.txt"
    cache = Path(os.environ.get("BENCH_CACHE") or Path.home() / ".cache" / "alpha-trader" / "peers")
    name = f"{peer}-{sys.version_info[0]}.{sys.version_info[1]}-{hashlib.sha256(pins.read_bytes()).hexdigest()[:8]}"
    place = cache / name
    python = place / "bin" / "python"
    if not (place / ".ready").exists():
        print(f"making the environment of {peer} (once)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", pins], check=True, stderr=subprocess.DEVNULL)
        (place / ".ready").touch()
    return python
