"""The report of a backtest as one picture, for chats and mails: verdict, headline figures, equity, drawdown, months."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.reports import charts, figures
from app.reports.html import whole_result
from app.reports.paper import COLOURS, EDGE, LETTERS, WIDTH, Paper, mixed
from app.reports.text import count
from app.reports.verdict import verdict_of

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Year")
_MOST_YEARS = 12


def picture(backtest: Mapping[str, Any]) -> bytes:
    """The report as PNG. backtest: backtest_id, params and result, as stored."""
    result = whole_result(backtest)
    months, curve = charts.months(result), charts.equity(result)
    height = 256 + (560 if curve else 0) + (60 + 26 * min(len(months), _MOST_YEARS) if months else 0)
    paper = Paper(height)
    top = _head(paper, backtest, result)
    if curve is not None:
        paper.text((EDGE, top), curve.title, size=17)
        paper.key(curve.lines, top)
        paper.chart(curve, (EDGE + 76, top + 34, WIDTH - EDGE, top + 330))
        top += 366
        if (under := charts.drawdown(result)) is not None:
            paper.text((EDGE, top), under.title, size=17)
            paper.chart(under, (EDGE + 76, top + 30, WIDTH - EDGE, top + 150))
        top += 194
    if months:
        _months(paper, dict(list(months.items())[:_MOST_YEARS]), top)
    return paper.png()


def _head(paper: Paper, backtest: Mapping[str, Any], result: Mapping[str, Any]) -> float:
    strategy = backtest["params"].get("strategy") or "the model-driven strategy"
    paper.text((EDGE, 28), f"{'Walk-forward' if result['walk_forward'] else 'Backtest'} of {strategy}"[:70], size=26)
    span, symbols = result["span"], backtest["params"].get("symbols") or []
    told = [f"{span['start']} to {span['end']}"] if "start" in span else []
    told.append(f"{count(len(symbols), 'symbol')}: {', '.join(symbols[:8])}" + (" ..." if len(symbols) > 8 else ""))
    paper.text((EDGE, 64), ", ".join(told)[:LETTERS], size=15, role="soft")
    top = paper.verdict(verdict_of(result["verdict"]), 96)
    step = (WIDTH - 2 * EDGE) / len(figures.HEADLINES)
    for i, name in enumerate(figures.HEADLINES):
        figure = figures.FIGURES[name]
        paper.text((EDGE + i * step, top), figure.label, size=13, role="soft")
        paper.text((EDGE + i * step, top + 18), figure.of(result["performance"]), size=20)
    return top + 66


def _months(paper: Paper, table: Mapping[int, Sequence[charts.Month]], top: float) -> None:
    paper.text((EDGE, top), "Returns by month, percent", size=17)
    step, left = (WIDTH - 2 * EDGE - 60) / 13, EDGE + 60
    for i, name in enumerate(_MONTHS):
        paper.text((left + (i + 0.5) * step, top + 36), name, size=13, role="soft", anchor="mm")
    for row, (year, months) in enumerate(table.items()):
        y = top + 62 + row * 26
        paper.text((EDGE, y), str(year), size=13, role="soft", anchor="lm")
        for i, month in enumerate(months):
            if month.level is not None:
                colour = mixed(COLOURS["gain" if month.level >= 0 else "loss"], 0.06 + 0.12 * abs(month.level))
                paper.block((left + i * step + 1, y - 12, left + (i + 1) * step - 1, y + 12), colour)
            paper.text((left + (i + 0.5) * step, y), month.text, size=13, anchor="mm")
