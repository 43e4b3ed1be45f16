"""Paging: rows of many symbols in symbol and time order, so many a page over all symbols, and the token of the next page."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np

from app.simulator.errors import bad_request

Rows = TypeVar("Rows", bound=tuple[np.ndarray, ...])
"""A named tuple of arrays of shape (n_rows,); the first one holds the seconds by which rows are ordered and told apart."""


class Page(NamedTuple):
    """Which rows of each symbol are wanted. start, end: seconds since 1970 UTC, inclusive. token: where the last page ended."""

    start: int
    end: int
    limit: int
    descending: bool
    token: str | None


def list_rows(
    symbols: Iterable[str],
    page: Page,
    read: Callable[[str, int, int], Iterator[Rows]],
    write: Callable[[Rows], list[str]],
) -> tuple[dict[str, list[str]], str | None]:
    """Rows as JSON text by symbol, and the token of the next page or None.

    read: the rows of a symbol from a start to an end, in pieces that are never empty, in the order of the page.
    """
    resume_symbol, resume_at = _read_token(page.token)
    listed: dict[str, list[str]] = {}
    left, newest = page.limit, ("", 0)
    for symbol in sorted(set(symbols)):
        start, end = page.start, page.end
        if symbol < resume_symbol:
            continue
        if symbol == resume_symbol:
            start, end = (start, min(end, resume_at - 1)) if page.descending else (max(start, resume_at + 1), end)
        for piece in read(symbol, start, end):
            if left == 0:
                return listed, _token(*newest)
            part = cut(piece, slice(left))
            listed.setdefault(symbol, []).extend(write(part))
            newest = (symbol, int(part[0][-1]))
            left -= len(part[0])
            if len(part[0]) < len(piece[0]):
                return listed, _token(*newest)
    return listed, None


def cut(rows: Rows, part: slice) -> Rows:
    """Some of the rows; views, not copies."""
    return type(rows)(*(column[part] for column in rows))


def encode_token(*parts: object) -> str:
    """A page token of these parts."""
    return base64.urlsafe_b64encode("|".join(str(part) for part in parts).encode()).decode()


def decode_token(token: str, count: int) -> list[str]:
    """The `count` parts of a page token; ApiError 400 for what is none."""
    try:
        parts = base64.urlsafe_b64decode(token.encode()).decode().split("|")
    except (ValueError, binascii.Error):
        parts = []
    if len(parts) != count:
        raise bad_request("invalid page_token")
    return parts


def whole(text: str) -> int:
    """A number of a page token; ApiError 400 for what is none."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise bad_request("invalid page_token")
    return int(text)


def _token(symbol: str, at: int) -> str:
    return encode_token(symbol, at)


def _read_token(token: str | None) -> tuple[str, int]:
    if not token:
        return "", 0
    symbol, at = decode_token(token, 2)
    return symbol, whole(at)
