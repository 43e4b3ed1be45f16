"""The report of a sweep or search as one picture: verdict, headline figures, curve of what was chosen, heat map."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from app.reports import research_charts
from app.reports.paper import EDGE, LETTERS, WIDTH, Paper
from app.reports.research_result import Told, done, told_of_run
from app.reports.text import count, day

_CURVE, _MAP = 366, 440  # heights


def research_picture(run: Mapping[str, Any]) -> bytes:
    """The report as PNG. run: as stored. Raises Conflict for one that cannot be drawn."""
    result, told = done(run), told_of_run(run)
    drawn = research_charts.curve(result, run["request"]["capital"], told.parts)
    heat = research_charts.heat_maps(result).get("sharpe")
    paper = Paper(330 + (_CURVE if drawn else 0) + (_MAP if heat else 0))
    top = _head(paper, run, told)
    if drawn is not None:
        paper.text((EDGE, top), drawn[0].title, size=17)
        paper.key(drawn[0].lines, top)
        paper.chart(drawn[0], (EDGE + 76, top + 34, WIDTH - EDGE, top + 330))
        top += _CURVE
    if heat is not None:
        paper.text((EDGE, top), f"{heat.title} on the searched bars", size=17)
        paper.chart(heat, (EDGE + 76, top + 34, WIDTH - EDGE, top + 350))
        for i, line in enumerate(textwrap.wrap(research_charts.told_of(result), LETTERS, max_lines=2, placeholder=" ...")):
            paper.text((EDGE, top + 382 + 20 * i), line, size=14, role="soft")
    return paper.png()


def _head(paper: Paper, run: Mapping[str, Any], told: Told) -> float:
    paper.text((EDGE, 28), told.title[:70], size=26)
    symbols = run["request"]["symbols"]
    said = f"{day(told.parts[0].start)} to {day(told.parts[-1].end)}, {count(len(symbols), 'symbol')}: {', '.join(symbols[:8])}"
    paper.text((EDGE, 64), (said + (" ..." if len(symbols) > 8 else ""))[:LETTERS], size=15, role="soft")
    top = paper.verdict(told.verdict, 96)
    paper.text((EDGE, top), f"Chosen: {told.chosen}"[:LETTERS], size=16)
    step = (WIDTH - 2 * EDGE) / 4
    for i, (label, value) in enumerate(told.tiles):
        left, line = EDGE + i % 4 * step, top + 34 + i // 4 * 52
        paper.text((left, line), label, size=13, role="soft")
        paper.text((left, line + 18), value, size=20)
    return top + 150
