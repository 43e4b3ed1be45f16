"""Packed copies are never seen to differ from the rows they were made of."""

from __future__ import annotations

import threading
from dataclasses import fields, replace
from datetime import UTC, datetime
from random import Random

import numpy as np
from sqlalchemy import func, select

from app.domain.bar import DAILY, BarSeries
from app.storage.bar_blocks import BLOCK_ROWS
from app.storage.tables import BAR_BLOCKS
from tests.storage.made import bars

COUNT = 3 * BLOCK_ROWS + 500
WHOLE = bars("AAPL", COUNT)


def same(left: BarSeries, right: BarSeries) -> bool:
    return all(np.array_equal(getattr(left, item.name), getattr(right, item.name)) for item in fields(BarSeries))


def blocks(ledger) -> int:
    return ledger._db.read(lambda c: c.execute(select(func.count()).select_from(BAR_BLOCKS)).scalar_one())


def test_only_whole_blocks_are_packed_and_appending_keeps_them(ledger):
    ledger.save_bars({"AAPL": WHOLE.slice(0, BLOCK_ROWS - 1)})
    assert len(ledger.bars("AAPL", DAILY)["AAPL"]) == BLOCK_ROWS - 1
    assert blocks(ledger) == 0
    ledger.save_bars({"AAPL": WHOLE.slice(BLOCK_ROWS - 1, 2 * BLOCK_ROWS + 7)})
    for _ in range(2):
        assert same(ledger.bars("AAPL", DAILY)["AAPL"], WHOLE.slice(0, 2 * BLOCK_ROWS + 7))
        assert blocks(ledger) == 2
    ledger.save_bars({"AAPL": WHOLE.slice(2 * BLOCK_ROWS + 7, COUNT)})
    assert blocks(ledger) == 2
    ledger.save_bars({"AAPL": WHOLE.slice(BLOCK_ROWS + 5, BLOCK_ROWS + 6)})
    assert blocks(ledger) == 1
    assert same(ledger.bars("AAPL", DAILY)["AAPL"], WHOLE)


def test_whatever_is_written_and_read_in_any_order_the_rows_are_seen(ledger):
    """The model is an array: present and close of each possible bar."""
    for seed in range(3):
        random, symbol = Random(seed), f"S{seed}"
        series = replace(WHOLE, symbol=symbol)
        close = np.full(COUNT, np.nan)
        for step in range(14):
            begin = random.randrange(COUNT)
            part = slice(begin, min(COUNT, begin + random.choice([1, 300, BLOCK_ROWS, 2 * BLOCK_ROWS])))
            close[part] = WHOLE.close[part] + step
            ledger.save_bars({symbol: replace(series, close=WHOLE.close + step).slice(part.start, part.stop)})
            low, high = sorted(random.sample(range(COUNT), 2))
            chosen = random.choice([(None, None), (low, None), (None, high), (low, high)])
            asked = [None if i is None else datetime.fromtimestamp(int(WHOLE.timestamp[i]), UTC) for i in chosen]
            found = ledger.bars(symbol, DAILY, start=asked[0], end=asked[1])
            span = slice(chosen[0] or 0, COUNT if chosen[1] is None else chosen[1] + 1)
            there = np.isfinite(close[span])
            if not there.any():
                assert found == {}
                continue
            assert np.array_equal(found[symbol].close, close[span][there]), (seed, step)
            assert np.array_equal(found[symbol].timestamp, WHOLE.timestamp[span][there])


def test_corrections_while_others_read_are_not_lost(ledger):
    ledger.save_bars({"AAPL": WHOLE})
    last = 12

    def correct() -> None:
        for step in range(1, last + 1):
            ledger.save_bars({"AAPL": replace(WHOLE, close=WHOLE.close + step).slice(100, 140)})

    writer = threading.Thread(target=correct)
    writer.start()
    while writer.is_alive():
        seen = ledger.bars("AAPL", DAILY)["AAPL"]
        assert len(set(np.round(seen.close[100:140] - WHOLE.close[100:140], 6))) == 1, "a part of a correction"
    writer.join()
    for _ in range(2):
        assert np.array_equal(ledger.bars("AAPL", DAILY)["AAPL"].close[100:140], WHOLE.close[100:140] + last)
    assert blocks(ledger) == 3
