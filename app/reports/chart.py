"""Charts as geometry: everything in fractions of the plot, x to the right, y downwards. Painters put them on a surface."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

Point = tuple[float, float]
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Tick:
    """A label on an axis. at: fraction along it."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A curve. role: of its colour. base: fraction down to which it is filled, None for a bare line."""

    name: str
    role: str
    points: tuple[Point, ...]
    base: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A symbol at a point. shape: entry, exit or chosen."""

    shape: str
    role: str
    at: Point
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A bar of a histogram, or a cell of a map. opacity: of its colour. label: written in its middle.
    is_cell: it fills its place, but for a thin edge."""

    left: float
    right: float
    top: float
    base: float
    role: str
    text: str
    opacity: float = 0.85
    label: str = ""
    is_cell: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Values along an axis. form: one of `text.FORMS`, "" for seconds since 1970 UTC."""

    low: float
    high: float
    form: str = ""
    is_log: bool = False

    def at(self, value: float) -> float:
        """Fraction along the axis, from the low end."""
        low, high = self.low, self.high
        if self.is_log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """title: what it shows. summary: the same in a sentence, for those who cannot see it. zero: where
    to emphasise a line, a fraction of the height. bounds: upright lines, with a word to the right of each. has_grid: whether
    lines lead from the ticks of y."""

    title: str
    summary: str
    x: Scale
    y: Scale
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...] = ()
    marks: tuple[Mark, ...] = ()
    blocks: tuple[Block, ...] = ()
    zero: float | None = None
    bounds: tuple[Tick, ...] = ()
    has_grid: bool = True


def spanning(values: Sequence[float], form: str, *, floor: float | None = None, margin: float = 0.04) -> Scale:
    """A linear scale around `values`, with some room; `floor` is within it."""
    low, high = min(values), max(values)
    if floor is not None:
        low, high = min(low, floor), max(high, floor)
    room = (high - low) * margin or abs(high) * 0.05 or 1.0
    return Scale(low=low - room if low != floor else low, high=high + room if high != floor else high, form=form)


def nice_values(scale: Scale, most: int = 5) -> list[float]:
    """Round values within a scale, at most about `most`: steps of 1, 2 or 5 times a power of ten (Heckbert, "Nice Numbers for
    Graph Labels", 1990); on a logarithmic scale such values themselves."""
    if scale.is_log:
        powers = range(math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high)) + 1)
        found = [lead * 10.0**power for power in powers for lead in (1, 2, 5) if scale.low <= lead * 10.0**power <= scale.high]
        return found if len(found) > 1 else [scale.low, scale.high]
    raw = (scale.high - scale.low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(lead * power for lead in (1, 2, 5, 10) if lead * power >= raw * 0.999)
    first = math.ceil(scale.low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(scale.high / step + 1e-9) + 1)]


def time_ticks(scale: Scale, most: int = 7) -> tuple[Tick, ...]:
    """Years, months, days or hours of UTC within a scale of seconds."""
    begin, end = datetime.fromtimestamp(scale.low, UTC), datetime.fromtimestamp(scale.high, UTC)
    days = (end - begin) / timedelta(days=1)
    if days > 150:
        months = next((m for m in (1, 2, 3, 6) if days / 30.4 / m <= most), 12 * max(1, math.ceil(days / 365.25 / most)))
        instants, form = _months(begin, end, months), "%Y" if months >= 12 else "%b %Y"
    else:
        hours = next((h for h in (1, 2, 4, 6, 12, 24, 48, 96, 168, 336) if days * 24 / h <= most), 720)
        instants, form = _hours(begin, end, hours), "%d %b" if hours >= 24 else "%d %b %H:%M"
    return tuple(Tick(scale.at(at.timestamp()), at.strftime(form).removeprefix("0")) for at in instants)


def _months(begin: datetime, end: datetime, step: int) -> Iterator[datetime]:
    index = begin.year * 12 + begin.month - 1
    index = -(-index // step) * step
    while (at := datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC)) <= end:
        if at >= begin:
            yield at
        index += step


def _hours(begin: datetime, end: datetime, step: int) -> Iterator[datetime]:
    seconds = step * 3600
    second = -(-int(begin.timestamp()) // seconds) * seconds
    while second <= end.timestamp():
        yield datetime.fromtimestamp(second, UTC)
        second += seconds
