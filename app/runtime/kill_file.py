"""The kill switch that works when nothing else does: while the file is there, no order may take on risk."""

from __future__ import annotations

from pathlib import Path

from app.runtime.whole_file import replace_file, sync_directory

NAME = "KILL"
LONGEST_REASON = 500


class KillFile:
    """`<state_dir>/KILL`; its content is the reason. A person may create it with any tool."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME

    def reason(self) -> str | None:
        """Why it is engaged, None when it is not. A file that cannot be read is engaged all the same."""
        try:
            text = self.path.read_bytes()[: 4 * LONGEST_REASON].decode("utf-8", "replace")
        except FileNotFoundError:
            return None
        except OSError as fault:
            return f"the kill file cannot be read: {fault.strerror}"
        return " ".join(text.split())[:LONGEST_REASON] or "no reason given"

    def write(self, reason: str) -> None:
        """Engage; on the disk when it returns. Raises OSError."""
        replace_file(self.path, f"{reason}\n".encode())

    def remove(self) -> None:
        """Release; durable like the writing. Nothing happens without the file."""
        if self.path.exists():
            self.path.unlink(missing_ok=True)
            sync_directory(self.path.parent)
