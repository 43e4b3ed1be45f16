"""The only reader of wall time."""

from datetime import UTC, datetime


class WallClock:
    """This machine's clock, aware UTC."""

    def now(self) -> datetime:
        """The present instant."""
        return datetime.now(UTC)
