"""News: articles of a file, or written by the generated market about closes that moved far. Only what has happened is told."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np

from app.domain.bar import BarSeries
from app.domain.errors import InvalidInput
from app.simulator.tape.csv_rows import read_rows

_COLUMNS = ("time", "symbols", "headline")
_BIG_MOVE = 0.04
_DELAY = 3_600  # an article about a close is written within this many seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """at: when it was published, seconds since 1970 UTC."""

    id: int
    at: int
    symbols: tuple[str, ...]
    headline: str
    summary: str = ""
    source: str = "file"
    url: str = ""


class Newsroom(ABC):
    """Where articles come from."""

    @abstractmethod
    def about(self, symbol: str) -> list[Article]:
        """Every article on a symbol, future ones included, in order of (at, id)."""

    @abstractmethod
    def everything(self) -> list[Article]:
        """Every article on the listed symbols, future ones included, in order of (at, id)."""

    def between(self, symbols: Iterable[str], start: int, end: int) -> list[Article]:
        """Articles on any of `symbols` (on all listed ones when empty) with start <= at <= end, in order."""
        wanted = list(symbols)
        found = {article.id: article for symbol in wanted for article in self.about(symbol)}
        articles: Iterable[Article] = found.values() if wanted else self.everything()
        return sorted((a for a in articles if start <= a.at <= end), key=lambda article: (article.at, article.id))


class FileNews(Newsroom):
    """Articles of a file."""

    def __init__(self, articles: Iterable[Article]) -> None:
        self._articles = sorted(articles, key=lambda article: (article.at, article.id))
        self._by_symbol: dict[str, list[Article]] = {}
        for article in self._articles:
            for symbol in article.symbols:
                self._by_symbol.setdefault(symbol, []).append(article)

    def about(self, symbol: str) -> list[Article]:
        """As the base class says."""
        return self._by_symbol.get(symbol, [])

    def everything(self) -> list[Article]:
        """As the base class says."""
        return self._articles


class GeneratedNews(Newsroom):
    """A line on every close that is more than `_BIG_MOVE` away from the one before, some minutes after it."""

    def __init__(self, seed: int, daily: Mapping[str, BarSeries]) -> None:
        self._seed = seed
        self._daily = daily
        self._written = lru_cache(maxsize=256)(self._write)

    def about(self, symbol: str) -> list[Article]:
        """As the base class says."""
        return self._written(symbol)

    def everything(self) -> list[Article]:
        """As the base class says."""
        return [article for symbol in self._daily for article in self.about(symbol)]

    def _write(self, symbol: str) -> list[Article]:
        if symbol not in self._daily:
            return []
        bars = self._daily[symbol]
        moves = np.diff(bars.close) / bars.close[:-1]
        return [self._article(symbol, bars, i + 1, float(moves[i])) for i in np.flatnonzero(np.abs(moves) > _BIG_MOVE).tolist()]

    def _article(self, symbol: str, bars: BarSeries, index: int, move: float) -> Article:
        closed = int(bars.known_at[index])
        number = _digest(f"{self._seed}|{symbol}|{closed}")
        verb, close = "gains" if move > 0 else "loses", float(bars.close[index])
        day_range = f"between {bars.low[index]:.2f} and {bars.high[index]:.2f}"
        return Article(
            id=number,
            at=closed + 60 + number % (_DELAY - 60),
            symbols=(symbol,),
            headline=f"{symbol} {verb} {abs(move):.1%} to close at {close:.2f}",
            summary=f"Shares of {symbol} traded {day_range}; volume was {bars.volume[index]:,.0f}. Simulated.",
            source="simulated",
        )


def load_news(path: Path) -> FileNews:
    """Read a CSV file with the columns time, symbols (apart by spaces) and headline, and optionally summary, source and url.

    Times without an offset are UTC; a mere date counts as the last second of that day, as nobody can say when in it the
    article appeared. Raises InvalidInput for a file of another shape.
    """
    return FileNews(_article(row, where) for where, row in read_rows(path, _COLUMNS, "news"))


def _article(row: dict[str, str], where: str) -> Article:
    text = {name: (row.get(name) or "").strip() for name in (*_COLUMNS, "summary", "source", "url")}
    try:
        moment = datetime.fromisoformat(text["time"])
    except ValueError:
        raise InvalidInput(f"{where}: time must be a time such as 2024-01-02T14:30:00Z or a date") from None
    at = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) + (86_399 if len(text["time"]) == 10 else 0)
    if not text["headline"]:
        raise InvalidInput(f"{where}: the headline is empty")
    return Article(
        id=_digest(f"{at}|{text['symbols']}|{text['headline']}"),
        at=at,
        symbols=tuple(dict.fromkeys(text["symbols"].replace(",", " ").replace(";", " ").upper().split())),
        headline=text["headline"],
        summary=text["summary"],
        source=text["source"] or "file",
        url=text["url"],
    )


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest(), "big")
