"""Bars, trades, quotes and snapshots as Alpaca's market data API shows them."""

from __future__ import annotations

import numpy as np

from app.simulator.market import Columns, OneBar, Price
from app.simulator.wire import Json, second

_TICK_FROM = 1.0


def bars(columns: Columns) -> list[str]:
    """Each bar as JSON text, written out by hand: listing is the exchange's bulk work.

    n (trades) and vw (average price) are estimates from volume and prices; the tape does not know them.
    """
    count = np.maximum(1, columns.volume // 100).astype(np.int64)
    average = np.round((columns.high + columns.low + columns.close) / 3.0, 4)
    stamps = np.datetime_as_string(columns.label.astype("datetime64[s]")).tolist()
    rows = zip(
        stamps, *(c.tolist() for c in columns[1:5]), columns.volume.astype(np.int64).tolist(), count.tolist(), average.tolist(),
        strict=True,
    )  # fmt: skip
    return [
        f'{{"t":"{t}Z","o":{o!r},"h":{h!r},"l":{lo!r},"c":{c!r},"v":{v},"n":{n},"vw":{vw!r}}}'
        for t, o, h, lo, c, v, n, vw in rows
    ]


def bar(one: OneBar | None) -> Json | None:
    """A single bar, the same numbers as in a list of `bars`."""
    if one is None:
        return None
    volume = int(one.volume)
    average = round((one.high + one.low + one.close) / 3.0 * 10_000.0) / 10_000.0
    return {
        "t": second(one.label),
        "o": one.open,
        "h": one.high,
        "l": one.low,
        "c": one.close,
        "v": volume,
        "n": max(1, volume // 100),
        "vw": average,
    }


def trade(price: Price) -> Json:
    """A latest trade."""
    return {
        "t": second(price.at),
        "x": "V",
        "p": price.price,
        "s": max(1, int(price.size)),
        "c": ["@"],
        "i": price.at,
        "z": "C",
    }


def quote(price: Price) -> Json:
    """A latest quote: one tick on either side of the newest trade."""
    tick = 0.01 if price.price > _TICK_FROM else 0.0001
    return {
        "t": second(price.at),
        "ax": "V",
        "ap": round(price.price + tick, 4),
        "as": 1,
        "bx": "V",
        "bp": round(max(price.price - tick, 0.0001), 4),
        "bs": 1,
        "c": ["R"],
        "z": "C",
    }
