"""The charts of sweeps, searches and walk-forwards, out of their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.reports import charts
from app.reports.chart import Block, Chart, Mark, Scale, Tick, spanning
from app.reports.research_result import Part
from app.reports.text import FORMS, UNKNOWN, day, number, parsed, percent, words

Result = Mapping[str, Any]
# Figures of a heat map: label, form, and whether more is worse.
MAPPED: Mapping[str, tuple[str, str, bool]] = {
    "sharpe": ("Sharpe ratio", "number", False),
    "total_return": ("Total return", "percent", False),
    "max_drawdown": ("Deepest drawdown", "percent", True),
    "win_rate": ("Win rate", "percent", False),
    "trades": ("Closed trades", "whole", False),
}
_MOST_LABELLED = 14  # cells side by side that have room for their figure
_MOST_TICKS = 12
_MOST_CELLS = 40  # side by side; of more only some are drawn
_PALE, _FULL = 0.06, 0.72  # opacity of the least and the largest figure


def curve(result: Result, capital: float, parts: Sequence[Part]) -> tuple[Chart, Chart] | None:
    """Equity and drawdown of what was chosen, with the parts of the bars. None for a curve too short to draw."""
    points = result["equity_curve"]
    held = any(point["buy_and_hold"] is not None for point in points)
    told = {
        "equity_curve": points,
        "performance": {"initial_capital": capital, "max_drawdown": max((p["drawdown"] for p in points), default=0.0)},
        "benchmark": {"buy_and_hold": {} if held else None},
    }
    equity, under = charts.equity(told), charts.drawdown(told)
    if equity is None or under is None:
        return None
    bounds = tuple(Tick(max(0.0, equity.x.at(parsed(part.start).timestamp())), part.name) for part in parts)
    return replace(equity, bounds=bounds), replace(under, bounds=tuple(replace(bound, text="") for bound in bounds))


def heat_maps(result: Result) -> dict[str, Chart]:
    """By figure a map of it over two parameters; none where nothing was searched on a grid."""
    found = result.get("heat_map")
    return {} if found is None else {name: _map(found, name, result["best"]["values"]) for name in MAPPED}


def told_of(result: Result) -> str:
    """How to read the heat maps."""
    found = result["heat_map"]
    said = f"On the searched bars alone: {words(found['x'])} to the right"
    said += f", {words(found['y'])} upwards" if found["y"] else ""
    if found["best_over"]:
        over = ", ".join(map(words, found["best_over"]))
        said += f"; each cell tells of the set with the best Sharpe ratio over {over}, which flatters"
    steps = {name: _step(found[f"{side}_values"]) for side in ("x", "y") if (name := found[side])}
    said += "".join(f"; every {step}th value of {words(name)} is drawn" for name, step in steps.items() if step > 1)
    return said + ". The square marks what was chosen; combinations that were not tried are empty."


def _map(found: Mapping[str, Any], name: str, chosen: Mapping[str, float]) -> Chart:
    label, form, _ = MAPPED[name]
    across, up = _step(found["x_values"]), _step(found["y_values"])
    columns, rows = found["x_values"][::across], found["y_values"][::up]
    x, y = Scale(low=0, high=len(columns), form="whole"), Scale(low=0, high=len(rows), form="whole")
    drawn = [row[::across] for row in found["figures"][name][::up]]
    cells = [(i, j, value) for j, row in enumerate(drawn) for i, value in enumerate(row) if value is not None]
    is_roomy = len(columns) <= _MOST_LABELLED and len(rows) <= _MOST_LABELLED
    values = [value for _, _, value in cells]
    blocks = tuple(
        Block(
            left=x.at(i),
            right=x.at(i + 1),
            top=1 - y.at(j + 1),
            base=1 - y.at(j),
            text=f"{_at(found, columns[i], rows[j])}: {label} {FORMS[form](value)}",
            label=_short(value, form) if is_roomy else "",
            is_cell=True,
            **_colour(name, value, values),
        )
        for i, j, value in cells
    )
    place = (
        found["x_values"].index(chosen[found["x"]]) // across,
        found["y_values"].index(chosen[found["y"]] if found["y"] else None) // up,
    )
    mark = Mark(shape="chosen", role="chosen", at=(x.at(place[0] + 0.86), 1 - y.at(place[1] + 0.76)), text="chosen")
    span = f"{FORMS[form](min(values))} to {FORMS[form](max(values))}" if values else UNKNOWN
    return Chart(
        title=label,
        summary=f"{label} over {len(cells)} combinations of {words(found['x'])} and {words(found['y'] or 'nothing')}: {span}.",
        x=x,
        y=y,
        x_ticks=_centres(columns, x, _MOST_LABELLED if is_roomy else _MOST_TICKS),
        y_ticks=tuple(Tick(1 - tick.at, tick.text) for tick in _centres(rows, y, _MOST_LABELLED)),
        blocks=blocks,
        marks=(mark,),
        has_grid=False,
    )


def _colour(name: str, value: float, values: Sequence[float]) -> dict[str, Any]:
    """Figures with a sign by it and their size; others by their place between the least and the largest."""
    if name in ("sharpe", "total_return"):
        share = abs(value) / max(map(abs, values)) if any(values) else 0.0
        role = "gain" if value >= 0 else "loss"
    else:
        low, high = min(values), max(values)
        share = (value - low) / (high - low) if high > low else 0.5
        role = "loss" if MAPPED[name][2] else "strategy"
    return {"role": role, "opacity": _PALE + (_FULL - _PALE) * share}


def _short(value: float, form: str) -> str:
    return percent(value, 0).removesuffix(" %") if form == "percent" else FORMS[form](value)


def _at(found: Mapping[str, Any], x: float, y: float | None) -> str:
    return f"{words(found['x'])} {x:g}" + ("" if y is None else f", {words(found['y'])} {y:g}")


def _step(values: Sequence[float | None]) -> int:
    return -(-len(values) // _MOST_CELLS)


def _centres(values: Sequence[float | None], scale: Scale, most: int) -> tuple[Tick, ...]:
    step = -(-len(values) // most)
    shown = [(i, value) for i, value in enumerate(values) if i % step == 0 and value is not None]
    return tuple(Tick(scale.at(i + 0.5), f"{value:g}") for i, value in shown)


def windows(walked: Mapping[str, Any] | None) -> Chart | None:
    """Of each window of a walk-forward the Sharpe ratio where the values were chosen beside that of afterwards; where nothing
    was chosen, the return of the account."""
    rows = walked["windows"] if walked else []
    pairs = [
        (row["in_sample"]["sharpe"], row["out_of_sample"]["sharpe"])
        if "in_sample" in row
        else (None, row.get("account_return"))
        for row in rows
    ]
    known = [value for pair in pairs for value in pair if value is not None]
    if not known:
        return None
    is_sharpe = any("in_sample" in row for row in rows)
    x, y = Scale(low=0, high=len(rows), form="whole"), spanning(known, "number" if is_sharpe else "percent", floor=0.0)
    step = -(-len(rows) // 7)
    ticks = tuple(Tick(x.at(i + 0.5), day(row["test"]["start"])) for i, row in enumerate(rows) if i % step == 0)
    return Chart(
        title="Sharpe ratio of each window" if is_sharpe else "Return of each window",
        summary=f"{len(rows)} windows; " + ("before and after the choice" if is_sharpe else "what the account made of each"),
        x=x,
        y=y,
        x_ticks=ticks,
        y_ticks=charts.ticks(y, 4),
        blocks=tuple(block for i, pair in enumerate(pairs) for block in _pair(pair, rows[i], i, x, y)),
        zero=1 - y.at(0.0),
    )


def _pair(pair: tuple[float | None, float | None], row: Mapping[str, Any], i: int, x: Scale, y: Scale) -> list[Block]:
    before, after = pair
    said = f"{day(row['test']['start'])} to {day(row['test']['end'])}: "
    is_sharpe = "in_sample" in row
    sides = [
        (0.12, 0.5, before, "benchmark", f"{said}{number(before)} where it was chosen"),
        (
            0.5 if is_sharpe else 0.12,
            0.88,
            after,
            "strategy" if (after or 0.0) >= 0 else "loss",
            said + (f"{number(after)} afterwards" if is_sharpe else percent(after)),
        ),
    ]
    return [
        Block(
            left=x.at(i + left),
            right=x.at(i + right),
            top=1 - y.at(max(value, 0.0)),
            base=1 - y.at(min(value, 0.0)),
            role=role,
            text=text,
        )
        for left, right, value, role, text in sides
        if value is not None
    ]
