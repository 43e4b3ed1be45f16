"""What the server that trading processes are forked from does once: every library imported, every compiled rule loaded."""

from __future__ import annotations

import tempfile
from pathlib import Path

from app.wiring import build
from tests.engine.worlds import Quote, book_of, decided
from tests.faults.controller_process import Life

with tempfile.TemporaryDirectory(prefix="alpha-trader-") as name:
    directory = Path(name)
    (directory / "forecasts.csv").write_text("symbol,expected_return,confidence\n")
    life = Life(url="http://127.0.0.1:1", database_url=f"sqlite:///{directory / 'ledger.db'}", directory=directory, seed=0)
    build(life.settings).close()
decided({"AAPL": Quote(expected=0.03)}, book_of())
