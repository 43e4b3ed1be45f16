"""Listing bars: which timeframes there are, which bars a request means, and paging over symbols in order."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from app.simulator import wire_data
from app.simulator.errors import bad_request
from app.simulator.market import Columns, Market

DAY = 86_400
_TIMEFRAME = re.compile(r"(\d{1,2})(Min|T|Hour|H|Day|D)")


@dataclass(frozen=True, slots=True, kw_only=True)
class BarRequest:
    """seconds: bar length, `DAY` for sessions. start, end: labels, inclusive. token: where the last page ended."""

    symbols: tuple[str, ...]
    seconds: int
    start: int
    end: int
    limit: int
    descending: bool
    token: str | None


def timeframe_seconds(text: str) -> int:
    """Length of a bar: 1-59Min, 1-23Hour or 1Day. Raises ApiError 400 for others."""
    found = _TIMEFRAME.fullmatch(text)
    if found:
        count, unit = int(found[1]), found[2][0]
        if unit in {"M", "T"} and 1 <= count <= 59:
            return count * 60
        if unit == "H" and 1 <= count <= 23:
            return count * 3600
        if unit == "D" and count == 1:
            return DAY
    raise bad_request(f"invalid timeframe: {text[:20]}; this simulated exchange lists 1-59Min, 1-23Hour and 1Day")


def list_bars(market: Market, request: BarRequest, now: int) -> tuple[dict[str, list[str]], str | None]:
    """Bars as JSON text by symbol, in symbol and time order, and the token of the next page or None."""
    resume_symbol, resume_label = _read_token(request.token)
    listed: dict[str, list[str]] = {}
    left = request.limit
    for symbol in sorted(request.symbols):
        if symbol not in market.source.daily or (resume_symbol is not None and symbol < resume_symbol):
            continue
        after = resume_label if symbol == resume_symbol else None
        for columns in _chunks(market, symbol, request, after, now):
            if left == 0:
                return listed, _token(listed, request)
            part = Columns(*(column[:left] for column in columns))
            listed.setdefault(symbol, []).extend(wire_data.bars(part))
            left -= len(part.label)
            if len(part.label) < len(columns.label):
                return listed, _token(listed, request)
    return listed, None


def _chunks(market: Market, symbol: str, request: BarRequest, after: int | None, now: int) -> Iterator[Columns]:
    """The bars of one symbol in pieces; never an empty piece."""
    if request.seconds == DAY:
        pieces: Iterator[Columns | None] = iter([market.daily_columns(symbol, now)])
    else:
        # A bar's label can lie up to its length before the session opens.
        first = max(0, market.started(request.start if after is None or request.descending else after))
        last = market.started(min(now, (after if after is not None and request.descending else request.end) + request.seconds))
        numbers = range(last, first - 1, -1) if request.descending else range(first, last + 1)
        pieces = (market.session_columns(symbol, n, request.seconds, now) for n in numbers)
    for piece in pieces:
        if piece is None:
            continue
        wanted = (piece.label >= request.start) & (piece.label <= request.end)
        if after is not None:
            wanted &= piece.label < after if request.descending else piece.label > after
        if wanted.any():
            part = Columns(*(np.asarray(column)[wanted] for column in piece))
            yield Columns(*(column[::-1] for column in part)) if request.descending else part


_LABEL = re.compile(r'"t":"([^"]+)"')


def _token(listed: dict[str, list[str]], request: BarRequest) -> str | None:
    symbol = max(listed)
    found = _LABEL.search(listed[symbol][-1])
    label = int(np.datetime64((found[1] if found else "1970-01-01Z").rstrip("Z"), "s").astype(np.int64))
    kind = "D" if request.seconds == DAY else "M"
    return base64.urlsafe_b64encode(f"{symbol}|{kind}|{label}".encode()).decode()


def _read_token(token: str | None) -> tuple[str | None, int | None]:
    if not token:
        return None, None
    try:
        symbol, _, label = base64.urlsafe_b64decode(token.encode()).decode().split("|")
        return symbol, int(label)
    except (ValueError, binascii.Error):
        raise bad_request("invalid page_token") from None
