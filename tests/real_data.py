"""Where the real market data is, for the tests that need it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DIRECTORY = Path(os.environ.get("ALPHA_TRADER_DATA") or Path(__file__).resolve().parents[1].parent / "shared" / "data")
WATCHLIST_DAILY = DIRECTORY / "equities_daily" / "watchlist_daily.parquet"


def needs(path: Path) -> pytest.MarkDecorator:
    """Skips a test where `path` is absent."""
    return pytest.mark.skipif(
        not path.is_file(),
        reason=f"real market data is absent: {path.name} (put it beside the project or set ALPHA_TRADER_DATA)",
    )
