"""Charts as inline SVG that stretches with the page: curves in a stretched view box, everything with a shape beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from markupsafe import Markup, escape

from app.reports.chart import Block, Chart, Line, Mark, Point, Tick

_SIDE = 1000  # of the stretched view box
_SHAPES = {
    "entry": "M0 -6L5.5 4L-5.5 4Z",
    "exit": "M0 6L5.5 -4L-5.5 -4Z",
    "chosen": "M-6 -6H6V6H-6Z",
    "small-entry": "M0 -3.5L3 2.5L-3 2.5Z",
    "small-exit": "M0 3.5L3 -2.5L-3 -2.5Z",
    "small-chosen": "M-3.5 -3.5H3.5V3.5H-3.5Z",
}
_CROWDED = 80  # marks from which on the small symbols are drawn
_NARROW = 6  # labels side by side that a phone has room for


def shapes() -> Markup:
    """The symbols of marks, to be put into the page once."""
    paths = Markup("").join(Markup('<path class="shape" id="{}" d="{}"/>').format(name, path) for name, path in _SHAPES.items())
    return Markup('<svg class="defs" aria-hidden="true"><defs>{}</defs></svg>').format(paths)


def drawn(chart: Chart, *, tall: bool = False) -> Markup:
    """A figure of the page: axes, plot, and what a pointer needs to read values off it."""
    layers = [_grid(chart), *map(_block, chart.blocks), *map(_line, chart.lines)]
    return Markup(
        '<div class="chart{tall}"><div class="y" aria-hidden="true">{y}</div><div class="plot"{reading}>'
        '<svg viewBox="0 0 {side} {side}" preserveAspectRatio="none" role="img" aria-label="{summary}">{layers}</svg>'
        '<svg class="marks">{marks}</svg></div><div class="x" aria-hidden="true">{x}</div></div>'
    ).format(
        tall=" tall" if tall else "",
        y=_joined(Markup('<span style="top:{:.2f}%">{}</span>').format(t.at * 100, t.text) for t in chart.y_ticks),
        x=_joined(Markup('<span style="left:{:.2f}%">{}</span>').format(t.at * 100, t.text) for t in chart.x_ticks),
        reading=_reading(chart),
        side=_SIDE,
        summary=chart.summary,
        layers=_joined(layers),
        marks=_joined(
            [
                *(_mark(mark, small=len(chart.marks) > _CROWDED) for mark in chart.marks),
                *_labels(chart.blocks),
                *(_word(bound) for bound in chart.bounds if bound.text),
            ]
        ),
    )


def _reading(chart: Chart) -> Markup:
    """Attributes by which the page's script turns a point back into a time and values; nothing where x is no time."""
    if not chart.lines or chart.x.form:
        return Markup("")
    return Markup(' data-x="{:.0f} {:.0f}" data-y="{:.10g} {:.10g} {} {}"').format(
        chart.x.low, chart.x.high, chart.y.low, chart.y.high, chart.y.form, "log" if chart.y.is_log else "linear"
    )


def _grid(chart: Chart) -> Markup:
    ticks = chart.y_ticks if chart.has_grid else ()
    lines = [Markup('<path class="grid" d="M0 {0:.1f}H{1}"/>').format(t.at * _SIDE, _SIDE) for t in ticks]
    lines += [Markup('<path class="bound" d="M{0:.1f} 0V{1}"/>').format(t.at * _SIDE, _SIDE) for t in chart.bounds]
    if chart.zero is not None:
        lines.append(Markup('<path class="zero" d="M0 {0:.1f}H{1}"/>').format(chart.zero * _SIDE, _SIDE))
    return _joined(lines)


def _line(line: Line) -> Markup:
    path = "M" + "L".join(map(_point, line.points))
    kind = line.role if line.base is None else f"{line.role} filled"
    curve = Markup('<path class="line {}" data-name="{}" d="{}"/>').format(kind, line.name, path)
    if line.base is None or not line.points:
        return curve
    first, last = (_point((x, line.base)) for x, _ in (line.points[0], line.points[-1]))
    return Markup('<path class="area {}" d="{}L{}L{}Z"/>').format(line.role, path, last, first) + curve


def _block(block: Block) -> Markup:
    gap = 0.0 if block.is_cell else (block.right - block.left) * 0.06
    corners = [(block.left + gap, block.top), (block.right - gap, block.top), (block.right - gap, block.base)]
    path = "M" + "L".join(map(_point, [*corners, (block.left + gap, block.base)])) + "Z"
    return Markup('<path class="block {}" fill-opacity="{:.2f}" d="{}"><title>{}</title></path>').format(
        f"{block.role} cell" if block.is_cell else block.role, block.opacity, path, block.text
    )


def _labels(blocks: Sequence[Block]) -> Iterator[Markup]:
    """What is written in cells; `many` of them are left out where the page is narrow."""
    labelled = [block for block in blocks if block.label]
    kind = "label many" if len({block.left for block in labelled}) > _NARROW else "label"
    for block in labelled:
        x, y = (block.left + block.right) * 50, (block.top + block.base) * 50
        yield Markup('<text class="{}" x="{:.2f}%" y="{:.2f}%">{}</text>').format(kind, x, y, block.label)


def _word(bound: Tick) -> Markup:
    return Markup('<text class="word" x="{:.2f}%" y="0" dx="5" dy="12">{}</text>').format(bound.at * 100, bound.text)


def _mark(mark: Mark, *, small: bool) -> Markup:
    return Markup('<use class="mark {}" href="#{}" x="{:.2f}%" y="{:.2f}%"><title>{}</title></use>').format(
        mark.role, f"small-{mark.shape}" if small else mark.shape, mark.at[0] * 100, mark.at[1] * 100, mark.text
    )


def _point(point: Point) -> str:
    return f"{point[0] * _SIDE:.1f} {point[1] * _SIDE:.1f}"


def _joined(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(map(escape, parts))
