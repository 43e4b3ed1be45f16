"""Bars, trades, quotes and snapshots as Alpaca's market data API shows them."""

from __future__ import annotations

import numpy as np

from app.domain.bar import Seconds
from app.simulator.tape.columns import Columns, OneBar, Price, bid_and_ask
from app.simulator.tape.news import Article
from app.simulator.tape.ticks import Ticks
from app.simulator.wire import Json, second

_QUOTED = 100  # shares on either side


def bars(columns: Columns) -> list[str]:
    """Each bar as JSON text, written out by hand: listing is the exchange's bulk work.

    n (trades) and vw (average price) are estimates from volume and prices; the tape does not know them.
    """
    count = np.maximum(1, columns.volume // 100).astype(np.int64)
    average = np.round((columns.high + columns.low + columns.close) / 3.0, 4)
    prices = (column.tolist() for column in columns[1:5])
    volume = columns.volume.astype(np.int64).tolist()
    rows = zip(_stamps(columns.label), *prices, volume, count.tolist(), average.tolist(), strict=True)
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


def trades(ticks: Ticks) -> list[str]:
    """Each trade as JSON text, the same as `trade` says."""
    rows = zip(_stamps(ticks.at), ticks.price.tolist(), ticks.size.astype(np.int64).tolist(), ticks.at.tolist(), strict=True)
    return [f'{{"t":"{t}Z","x":"V","p":{p!r},"s":{s},"c":["@"],"i":{at},"z":"C"}}' for t, p, s, at in rows]


def quotes(ticks: Ticks) -> list[str]:
    """The quote of each trade as JSON text, the same as `quote` says."""
    bid, ask = (prices.tolist() for prices in bid_and_ask(ticks.price))
    return [
        f'{{"t":"{t}Z","ax":"V","ap":{a!r},"as":{_QUOTED},"bx":"V","bp":{b!r},"bs":{_QUOTED},"c":["R"],"z":"C"}}'
        for t, a, b in zip(_stamps(ticks.at), ask, bid, strict=True)
    ]


def trade(price: Price) -> Json:
    """A trade."""
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
    """The quote at a trade: one tick on either side of it."""
    bid, ask = bid_and_ask(np.array(price.price))
    return {
        "t": second(price.at),
        "ax": "V",
        "ap": float(ask),
        "as": _QUOTED,
        "bx": "V",
        "bp": float(bid),
        "bs": _QUOTED,
        "c": ["R"],
        "z": "C",
    }


def article(one: Article) -> Json:
    """A news article. Its content is the summary, asked for or not: the tape has no more, and Alpaca documents no empty one."""
    summary = one.summary or one.headline
    return {
        "id": one.id,
        "headline": one.headline,
        "author": one.source,
        "created_at": second(one.at),
        "updated_at": second(one.at),
        "summary": summary,
        "content": summary,
        "images": [],
        "symbols": list(one.symbols),
        "source": one.source,
        "url": one.url or None,
    }


def _stamps(seconds: Seconds) -> list[str]:
    stamps: list[str] = np.datetime_as_string(seconds.astype("datetime64[s]")).tolist()
    return stamps
