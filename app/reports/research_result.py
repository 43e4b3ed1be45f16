"""What came of a sweep or search as people read it, the same in page and picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.domain.errors import Conflict
from app.reports.text import number, percent, whole, words
from app.reports.verdict import Shown, verdict_of

_TITLES = {"sweep": "Sweep of", "optimize": "Search in"}
_PARTS = {"train": "searched", "validation": "chosen on", "holdout": "held out"}
_NEEDED = ("best", "table", "parts", "trials", "assumptions", "equity_curve", "dataset")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of the three parts of the bars. key: in the result. start, end: RFC 3339."""

    key: str
    name: str
    start: str
    end: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """chosen: the values. varied: parameters that differ in the table. tiles: label and value of the headline figures."""

    title: str
    chosen: str
    varied: Sequence[str]
    tiles: Sequence[tuple[str, str]]
    parts: Sequence[Part]
    verdict: Shown


def done(run: Mapping[str, Any]) -> Mapping[str, Any]:
    """The result of a sweep or search. run: as stored. Raises Conflict saying why it cannot be drawn."""
    result: Mapping[str, Any] | None = run["result"]
    if result is None:
        raise Conflict(f"run {run['run_id']} is {run['state']}, so there is nothing to draw yet", code="no_report")
    if run["kind"] not in _TITLES:
        raise Conflict(f"there is no report of this kind of run; see trader research show {run['run_id']}", code="no_report")
    heat = result.get("heat_map") or {"figures": {}}
    if "figures" not in heat or not all(name in result for name in _NEEDED):
        raise Conflict(f"run {run['run_id']} was stored by a version that kept less; run it again", code="no_report")
    return result


def told_of_run(run: Mapping[str, Any]) -> Told:
    """Headings and headline figures. Raises Conflict as `done`."""
    result = done(run)
    best, table = result["best"], result["table"]
    searched, chosen_on, held_out = best["train"], best["validation"], best["holdout"]
    return Told(
        title=f"{_TITLES[run['kind']]} {result['strategy']}",
        chosen=", ".join(f"{words(name)} {value:g}" for name, value in best["values"].items()) or "it has no parameters",
        varied=[name for name in best["values"] if len({row["values"][name] for row in table}) > 1],
        tiles=[
            ("Sharpe ratio, searched", number(searched["sharpe"])),
            ("Sharpe ratio, chosen on", number(chosen_on["sharpe"])),
            ("Sharpe ratio, held out", number(held_out["sharpe"])),
            ("Return, held out", percent(held_out["total_return"])),
            ("Deepest drawdown, held out", percent(held_out["max_drawdown"])),
            ("Closed trades, held out", whole(held_out["trades"])),
            ("Sets tried here", whole(result["trials"]["evaluated"])),
            ("Ever tried on these bars", whole(result["trials"]["counted_on_these_bars"])),
        ],
        parts=[Part(key=key, name=_PARTS[key], start=p["start"], end=p["end"]) for key, p in result["parts"].items()],
        verdict=verdict_of(result.get("verdict")),
    )
