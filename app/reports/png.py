"""The report of a backtest as one picture, for chats and mails: verdict, headline figures, equity, drawdown, months.

Drawn by Pillow from the same charts as the page, at twice the size and then halved, which smooths its lines.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from app.reports import charts, figures
from app.reports.chart import Chart, Line, Point
from app.reports.html import whole_result
from app.reports.verdict import Shown, verdict_of

_WIDTH, _EDGE, _SCALE = 1200, 36, 2
_Box = tuple[float, float, float, float]  # left, top, right, bottom
_COLOURS = {
    "page": "#ffffff", "ink": "#171b22", "soft": "#5c6675", "rule": "#e3e6eb", "zero": "#9aa3b0",
    "strategy": "#1f62c4", "benchmark": "#7b8594", "other": "#b86e00", "gain": "#0f7f73", "loss": "#c2402c",
    "PASS": "#13795b", "WARN": "#9a6200", "FAIL": "#b3261e", "NONE": "#5c6675",
}  # fmt: skip
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Year")
_MOST_YEARS = 12
_LETTERS = 145  # of a line of reasons


def picture(backtest: Mapping[str, Any]) -> bytes:
    """The report as PNG. backtest: backtest_id, params and result, as stored."""
    result = whole_result(backtest)
    months, curve = charts.months(result), charts.equity(result)
    height = 256 + (560 if curve else 0) + (60 + 26 * min(len(months), _MOST_YEARS) if months else 0)
    paper = _Paper(height)
    top = _head(paper, backtest, result)
    if curve is not None:
        paper.text((_EDGE, top), curve.title, size=17)
        _key(paper, curve.lines, top)
        paper.chart(curve, (_EDGE + 76, top + 34, _WIDTH - _EDGE, top + 330))
        top += 366
        if (under := charts.drawdown(result)) is not None:
            paper.text((_EDGE, top), under.title, size=17)
            paper.chart(under, (_EDGE + 76, top + 30, _WIDTH - _EDGE, top + 150))
        top += 194
    if months:
        _months(paper, dict(list(months.items())[:_MOST_YEARS]), top)
    return paper.png()


def _head(paper: _Paper, backtest: Mapping[str, Any], result: Mapping[str, Any]) -> float:
    strategy = backtest["params"].get("strategy") or "the model-driven strategy"
    paper.text((_EDGE, 28), f"{'Walk-forward' if result['walk_forward'] else 'Backtest'} of {strategy}"[:70], size=26)
    span, symbols = result["span"], backtest["params"].get("symbols") or []
    told = [f"{span['start']} to {span['end']}"] if "start" in span else []
    told.append(f"{len(symbols)} symbols: {', '.join(symbols[:8])}" + (" ..." if len(symbols) > 8 else ""))
    paper.text((_EDGE, 64), ", ".join(told)[:_LETTERS], size=15, role="soft")
    top = _verdict(paper, verdict_of(result["verdict"]), 96)
    step = (_WIDTH - 2 * _EDGE) / len(figures.HEADLINES)
    for i, name in enumerate(figures.HEADLINES):
        figure = figures.FIGURES[name]
        paper.text((_EDGE + i * step, top), figure.label, size=13, role="soft")
        paper.text((_EDGE + i * step, top + 18), figure.of(result["performance"]), size=20)
    return top + 66


def _verdict(paper: _Paper, verdict: Shown, top: float) -> float:
    paper.block((_EDGE, top, _EDGE + 5, top + 66), _COLOURS[verdict.level])
    headline = verdict.headline if verdict.level == "NONE" else f"{verdict.level}: {verdict.headline}"
    paper.text((_EDGE + 16, top), headline, size=18, role=verdict.level)
    reason = verdict.reasons[0] if verdict.reasons else ""
    for i, line in enumerate(textwrap.wrap(reason, _LETTERS, max_lines=2, placeholder=" ...")):
        paper.text((_EDGE + 16, top + 28 + 20 * i), line, size=14, role="soft")
    return top + 88


def _key(paper: _Paper, lines: Sequence[Line], top: float) -> None:
    left = float(_EDGE + 200)
    for line in reversed(lines):
        paper.line([(left, top + 11), (left + 20, top + 11)], line.role, 3)
        left = paper.text((left + 26, top + 2), line.name, size=14, role="soft") + 22


def _months(paper: _Paper, table: Mapping[int, Sequence[charts.Month]], top: float) -> None:
    paper.text((_EDGE, top), "Returns by month, percent", size=17)
    step, left = (_WIDTH - 2 * _EDGE - 60) / 13, _EDGE + 60
    for i, name in enumerate(_MONTHS):
        paper.text((left + (i + 0.5) * step, top + 36), name, size=13, role="soft", anchor="mm")
    for row, (year, months) in enumerate(table.items()):
        y = top + 62 + row * 26
        paper.text((_EDGE, y), str(year), size=13, role="soft", anchor="lm")
        for i, month in enumerate(months):
            if month.level is not None:
                colour = _mixed(_COLOURS["gain" if month.level >= 0 else "loss"], 0.06 + 0.12 * abs(month.level))
                paper.block((left + i * step + 1, y - 12, left + (i + 1) * step - 1, y + 12), colour)
            paper.text((left + (i + 0.5) * step, y), month.text, size=13, anchor="mm")


class _Paper:
    """A picture of a given height; positions and sizes in pixels of the finished one."""

    def __init__(self, height: float) -> None:
        self._image = Image.new("RGB", (_WIDTH * _SCALE, int(height) * _SCALE), _COLOURS["page"])
        self._draw = ImageDraw.Draw(self._image)

    def text(self, at: Point, text: str, *, size: int, role: str = "ink", anchor: str = "la") -> float:
        """Write one line; where it ends on the right. anchor: as Pillow names them."""
        # The font that comes with Pillow has neither of the two.
        plain = text.replace("\u2212", "-").replace("\u2013", "-")
        place = (at[0] * _SCALE, at[1] * _SCALE)
        self._draw.text(place, plain, fill=_COLOURS[role], font=_font(size), anchor=anchor)
        return float(self._draw.textbbox(place, plain, font=_font(size), anchor=anchor)[2]) / _SCALE

    def line(self, points: Sequence[Point], role: str, width: float) -> None:
        """A curve."""
        scaled = [(x * _SCALE, y * _SCALE) for x, y in points]
        self._draw.line(scaled, fill=_COLOURS[role], width=round(width * _SCALE), joint="curve")

    def block(self, box: _Box, colour: str) -> None:
        """A filled rectangle."""
        self._draw.rectangle([edge * _SCALE for edge in box], fill=colour)

    def chart(self, chart: Chart, box: _Box) -> None:
        """A chart whose plot fills `box`; labels of the axes to the left of it and below."""
        left, top, right, bottom = box
        for tick in chart.y_ticks:
            y = top + tick.at * (bottom - top)
            self.line([(left, y), (right, y)], "rule", 1)
            self.text((left - 8, y), tick.text, size=13, role="soft", anchor="rm")
        for tick in chart.x_ticks:
            self.text((left + tick.at * (right - left), bottom + 8), tick.text, size=13, role="soft", anchor="ma")
        if chart.zero is not None:
            self.line([(left, y := top + chart.zero * (bottom - top)), (right, y)], "zero", 1)
        for line in chart.lines:
            points = [(left + x * (right - left), top + y * (bottom - top)) for x, y in line.points]
            if line.base is not None:
                base = top + line.base * (bottom - top)
                corners = [(x * _SCALE, y * _SCALE) for x, y in [*points, (points[-1][0], base), (points[0][0], base)]]
                self._draw.polygon(corners, fill=_mixed(_COLOURS[line.role], 0.16))
            self.line(points, line.role, 1.8 if line.base is None else 1.2)

    def png(self) -> bytes:
        """The finished picture."""
        buffer = io.BytesIO()
        size = (self._image.width // _SCALE, self._image.height // _SCALE)
        self._image.resize(size, Image.Resampling.LANCZOS).save(buffer, format="PNG", optimize=True)
        return buffer.getvalue()


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * _SCALE)


def _mixed(colour: str, share: float) -> str:
    """`colour` on white, as if it were transparent."""
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(255 + (part - 255) * share):02x}" for part in parts)
