"""What pictures are drawn on: text, lines, blocks, charts; by Pillow, at twice the size and then halved, which smooths it."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from app.reports.chart import Block, Chart, Line, Point
from app.reports.verdict import Shown

WIDTH, EDGE, _SCALE = 1200, 36, 2
Box = tuple[float, float, float, float]  # left, top, right, bottom
COLOURS = {
    "page": "#ffffff", "ink": "#171b22", "soft": "#5c6675", "rule": "#e3e6eb", "zero": "#9aa3b0",
    "strategy": "#1f62c4", "benchmark": "#7b8594", "other": "#b86e00", "gain": "#0f7f73", "loss": "#c2402c",
    "PASS": "#13795b", "WARN": "#9a6200", "FAIL": "#b3261e", "NONE": "#5c6675",
}  # fmt: skip
LETTERS = 145  # of a line of reasons


class Paper:
    """A picture of a given height; positions and sizes in pixels of the finished one."""

    def __init__(self, height: float) -> None:
        self._image = Image.new("RGB", (WIDTH * _SCALE, int(height) * _SCALE), COLOURS["page"])
        self._draw = ImageDraw.Draw(self._image)

    def text(self, at: Point, text: str, *, size: int, role: str = "ink", anchor: str = "la") -> float:
        """Write one line; where it ends on the right. anchor: as Pillow names them."""
        # The font that comes with Pillow has neither of the two.
        plain = text.replace("\u2212", "-").replace("\u2013", "-")
        place = (at[0] * _SCALE, at[1] * _SCALE)
        self._draw.text(place, plain, fill=COLOURS[role], font=_font(size), anchor=anchor)
        return float(self._draw.textbbox(place, plain, font=_font(size), anchor=anchor)[2]) / _SCALE

    def line(self, points: Sequence[Point], role: str, width: float) -> None:
        """A curve."""
        scaled = [(x * _SCALE, y * _SCALE) for x, y in points]
        self._draw.line(scaled, fill=COLOURS[role], width=round(width * _SCALE), joint="curve")

    def block(self, box: Box, colour: str) -> None:
        """A filled rectangle."""
        self._draw.rectangle([edge * _SCALE for edge in box], fill=colour)

    def chart(self, chart: Chart, box: Box) -> None:
        """A chart whose plot fills `box`; labels of the axes to the left of it and below."""
        left, top, right, bottom = box
        for tick in chart.y_ticks:
            y = top + tick.at * (bottom - top)
            if chart.has_grid:
                self.line([(left, y), (right, y)], "rule", 1)
            self.text((left - 8, y), tick.text, size=13, role="soft", anchor="rm")
        for tick in chart.x_ticks:
            self.text((left + tick.at * (right - left), bottom + 8), tick.text, size=13, role="soft", anchor="ma")
        if chart.zero is not None:
            self.line([(left, y := top + chart.zero * (bottom - top)), (right, y)], "zero", 1)
        for bound in chart.bounds:
            self.line([(x := left + bound.at * (right - left), top), (x, bottom)], "zero", 1)
            self.text((x + 5, top + 2), bound.text, size=13, role="soft")
        for block in chart.blocks:
            self._cell(block, box)
        for line in chart.lines:
            points = [(left + x * (right - left), top + y * (bottom - top)) for x, y in line.points]
            if line.base is not None:
                base = top + line.base * (bottom - top)
                corners = [(x * _SCALE, y * _SCALE) for x, y in [*points, (points[-1][0], base), (points[0][0], base)]]
                self._draw.polygon(corners, fill=mixed(COLOURS[line.role], 0.16))
            self.line(points, line.role, 1.8 if line.base is None else 1.2)

        for x, y in (mark.at for mark in chart.marks if mark.shape == "chosen"):
            centre = (left + x * (right - left)) * _SCALE, (top + y * (bottom - top)) * _SCALE
            box_of = (centre[0] - 12, centre[1] - 12, centre[0] + 12, centre[1] + 12)
            self._draw.rectangle(box_of, outline=COLOURS["ink"], width=4)

    def _cell(self, block: Block, box: Box) -> None:
        left, top, right, bottom = box
        x, y = (left + edge * (right - left) for edge in (block.left, block.right)), (block.top, block.base)
        (begin, end), (high, low) = x, (top + edge * (bottom - top) for edge in y)
        gap = min(1.0, (end - begin) * 0.06)
        self.block((begin + gap, high + gap, end - gap, low - gap), mixed(COLOURS[block.role], block.opacity))
        if block.label:
            self.text(((begin + end) / 2, (high + low) / 2), block.label, size=13, anchor="mm")

    def verdict(self, verdict: Shown, top: float) -> float:
        """Level, headline and first reason; where what follows begins."""
        self.block((EDGE, top, EDGE + 5, top + 66), COLOURS[verdict.level])
        headline = verdict.headline if verdict.level == "NONE" else f"{verdict.level}: {verdict.headline}"
        self.text((EDGE + 16, top), headline, size=18, role=verdict.level)
        reason = verdict.reasons[0] if verdict.reasons else ""
        for i, line in enumerate(textwrap.wrap(reason, LETTERS, max_lines=2, placeholder=" ...")):
            self.text((EDGE + 16, top + 28 + 20 * i), line, size=14, role="soft")
        return top + 88

    def key(self, lines: Sequence[Line], top: float) -> None:
        """The legend of a chart, beside its title."""
        left = float(EDGE + 240)
        for line in reversed(lines):
            self.line([(left, top + 11), (left + 20, top + 11)], line.role, 3)
            left = self.text((left + 26, top + 2), line.name, size=14, role="soft") + 22

    def png(self) -> bytes:
        """The finished picture."""
        buffer = io.BytesIO()
        size = (self._image.width // _SCALE, self._image.height // _SCALE)
        self._image.resize(size, Image.Resampling.LANCZOS).save(buffer, format="PNG", optimize=True)
        return buffer.getvalue()


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * _SCALE)


def mixed(colour: str, share: float) -> str:
    """`colour` on white, as if it were transparent."""
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(255 + (part - 255) * share):02x}" for part in parts)
