"""Where tests keep their files: in memory where that can be, since every commit of a database waits for the disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
_ROOM = 2 << 30  # bytes; a run of the suite takes less than half a GiB


def keep_files_in_memory() -> None:
    """Makes the temporary directory of this process and of those it starts one in memory. Not where TMPDIR says another, where
    there is little room, or where nothing in memory may be executed."""
    if "TMPDIR" in os.environ or not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < _ROOM:
        return
    try:
        with tempfile.NamedTemporaryFile(dir=MEMORY) as probe:
            Path(probe.name).chmod(0o700)
            may_execute = os.access(probe.name, os.X_OK)
    except OSError:
        return
    if may_execute:
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None  # forgets what it found before
