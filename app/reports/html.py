"""Reports as pages that stand alone: of a backtest, and of a sweep or search.

A page asks for nothing, works offline, on a phone and on paper."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from app.domain.errors import Conflict
from app.reports import charts, figures, research_charts, svg, text
from app.reports.chart import Chart, Tick
from app.reports.research_result import done, told_of_run
from app.reports.verdict import verdict_of

ROWS = 200  # trades in the table; the result holds more
_MOST_WINDOWS = 40  # whose beginnings are shown in the curve
_FOLDER = Path(__file__).parent / "page"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def policy() -> str:
    """What the page may do (Content-Security-Policy): its own style and its one script, nothing from anywhere."""
    digest = base64.b64encode(hashlib.sha256(_asset("script.js").encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def page(backtest: Mapping[str, Any]) -> str:
    """The report. backtest: backtest_id, created_at, params and result, as stored."""
    result = whole_result(backtest)
    walked = result["walk_forward"]
    symbols = [(symbol, chart) for symbol in result["prices"] if (chart := charts.price(result, symbol)) is not None]
    return _rendered(
        "report.html",
        backtest=backtest,
        params=backtest["params"],
        result=result,
        performance=result["performance"],
        verdict=verdict_of(result["verdict"]),
        headlines=[figures.FIGURES[name] for name in figures.HEADLINES],
        groups=figures.GROUPS,
        equity=_with_windows(charts.equity(result), walked),
        drawdown=charts.drawdown(result),
        exposure=charts.exposure(result),
        distribution=charts.distribution(result),
        symbols=symbols,
        months=charts.months(result),
        walked=walked,
        windows=research_charts.windows(walked),
        month_names=_MONTHS,
        trades=result["trades"][-ROWS:],
    )


def research_page(run: Mapping[str, Any]) -> str:
    """The report of a sweep or search that is done. run: as stored. Raises Conflict for one that is not, or that was made by a
    version whose results had less in them."""
    result, told = done(run), told_of_run(run)
    drawn = research_charts.curve(result, run["request"]["capital"], told.parts)
    return _rendered(
        "research.html",
        run=run,
        request=run["request"],
        result=result,
        told=told,
        verdict=told.verdict,
        plateau=next((one["sentence"] for one in told.verdict.checks if one["name"] == "parameter_plateau"), None),
        equity=drawn and drawn[0],
        drawdown=drawn and drawn[1],
        maps=research_charts.heat_maps(result),
        reading=research_charts.told_of(result) if result.get("heat_map") else "",
    )


def _with_windows(equity: Chart | None, walked: Mapping[str, Any] | None) -> Chart | None:
    """The curve with a line where each window begins."""
    if equity is None or not walked or len(walked["windows"]) > _MOST_WINDOWS:
        return equity
    starts = [equity.x.at(text.parsed(row["test"]["start"]).timestamp()) for row in walked["windows"]]
    return replace(equity, bounds=tuple(Tick(at, "") for at in starts if 0.0 < at < 1.0))


def _rendered(name: str, **values: Any) -> str:
    return _template(name).render(
        **values,
        policy=policy(),
        style=Markup(_asset("style.css")),  # noqa: S704 - our own file
        script=Markup(_asset("script.js")),  # noqa: S704 - our own file
        svg=svg,
        text=text,
    )


def whole_result(backtest: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a stored backtest with every part that is drawn, empty where it has none. Raises Conflict for one that
    lacks the figures themselves."""
    result = {**_EMPTY, **(backtest.get("result") or {})}
    if "year" not in result.get("performance", {}):
        raise Conflict("this backtest was stored by a version that measured less; run it again", code="no_report")
    return result


# Parts that a result of another engine, or of an older version, may lack.
_EMPTY: Mapping[str, Any] = {
    "verdict": None,
    "benchmark": {},
    "equity_curve": [],
    "monthly": [],
    "returns_histogram": None,
    "exposure": {"mean": None, "max": None},
    "trades": [],
    "by_symbol": [],
    "by_exit_reason": [],
    "attribution": [],
    "prices": {},
    "assumptions": {},
    "dataset": None,
    "thinned": {},
    "span": {},
    "walk_forward": None,
}


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)


@cache
def _asset(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
