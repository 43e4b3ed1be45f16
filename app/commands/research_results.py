"""What came of research, on the screen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from app.commands.console import out, print_rows
from app.commands.research_paths import print_paths
from app.commands.trials import print_verdict
from app.domain.research import ResearchRun, RunState

_COLUMNS, _ROWS = 12, 30  # of a heat map on the screen


def print_run(run: ResearchRun) -> None:
    """The result, or how far it is."""
    result = dict(run.result or {})
    if run.state is not RunState.DONE:
        out.print(f"{run.kind} {run.state}, {run.done} of {run.chunks} parts done. {escape(run.error or '')}", soft_wrap=True)
    elif "combinatorial" in result:
        print_paths(result)
    elif run.kind == "walk_forward":
        _print_walk_forward(result)
    else:
        _print_search(result)


def _print_search(result: Mapping[str, Any]) -> None:
    parts = ", ".join(f"{name} {part['start'][:10]} to {part['end'][:10]}" for name, part in result["parts"].items())
    out.print(f"{result['strategy']}: {parts}", soft_wrap=True)
    table = result["table"]
    varied = [name for name in table[0]["values"] if len({row["values"][name] for row in table}) > 1]
    if "heat_map" in result:
        _print_heat_map(result["heat_map"])
    print_rows(
        {
            **{name: f"{row['values'][name]:g}" for name in varied},
            "trades": row["train"]["trades"],
            "sharpe on train": number(row["train"]["sharpe"]),
            **{
                f"{name} on {part}": shown(row[part][figure]) if part in row else ""
                for part in ("validation", "holdout")
                for name, figure, shown in (("sharpe", "sharpe", number), ("return", "total_return", percent))
            },
        }
        for row in table
    )
    trials = result["trials"]
    out.print(
        f"chosen: {values_of(result['best']['values'])}. {trials['evaluated']} sets were evaluated here; "
        f"{trials['counted_on_these_bars']} configurations have been tried on these bars by now, each a chance for luck.",
        soft_wrap=True,
    )
    assumed = result["assumptions"]
    out.print(f"fills: {assumed['fills']}; sides: {assumed['sides']}", soft_wrap=True)
    if result.get("verdict"):
        print_verdict(result["verdict"])


def _print_walk_forward(result: Mapping[str, Any]) -> None:
    print_rows(
        {
            "window": row["window"] + 1,
            "from": row["test"]["start"][:10],
            "to": row["test"]["end"][:10],
            "chosen": values_of(row["values"]) if "values" in row else "",
            "sharpe in sample": number(row["in_sample"]["sharpe"]) if "in_sample" in row else "",
            "out of sample": number(row["out_of_sample"]["sharpe"]) if "out_of_sample" in row else "",
            "account": percent(row["account_return"]),
        }
        for row in result["walk_forward"]["windows"]
    )
    performance, held = result["performance"], result["benchmark"]["buy_and_hold"] or {}
    names = ("total_return", "annualized_return", "volatility", "sharpe_ratio", "max_drawdown", "trades", "cost_over_capital")
    table = Table("figure", "account", "buy and hold", box=None)
    for name in names:
        table.add_row(name, *(f"{side[name]:.4g}" if side.get(name) is not None else "" for side in (performance, held)))
    out.print(table)
    print_verdict(result["verdict"])
    out.print(f"backtest {result['backtest_id']}", soft_wrap=True)


def _print_heat_map(found: Mapping[str, Any]) -> None:
    """Sharpe ratios of the train part: the best green, the worst red, in steps where there are many columns or rows."""
    across, down = -(-len(found["x_values"]) // _COLUMNS), -(-len(found["y_values"]) // _ROWS)
    shown = range(0, len(found["x_values"]), across)
    rows = list(zip(found["y_values"], found["figures"]["sharpe"], strict=True))[::down]
    cells = [row[i] for _, row in rows for i in shown if row[i] is not None]
    if not cells:
        return
    low, high = min(cells), max(cells)
    best_over = f", the best over {', '.join(found['best_over'])}" if found["best_over"] else ""
    steps = "; not every value is shown, the report (--html) has more" if across > 1 or down > 1 else ""
    said = f"Sharpe ratio on the train part: {found['x']} across, {found['y'] or 'nothing'} down{best_over}{steps}"
    out.print(said, soft_wrap=True)
    table = Table(f"{found['y'] or ''} ", *(f"{found['x_values'][i]:g}" for i in shown), box=None, padding=0)
    for at, row in rows:
        table.add_row("" if at is None else f"{at:g} ", *(_cell(row[i], low, high) for i in shown))
    out.print(table)


def _cell(value: float | None, low: float, high: float) -> str:
    if value is None:
        return ""
    share = (value - low) / (high - low) if high > low else 0.5
    red, green = round(200 * (1 - share)), round(160 * share)
    return f"[white on rgb({red},{green},60)] {value:5.2f} [/]"


def values_of(values: Mapping[str, float]) -> str:
    """Names and values."""
    return ", ".join(f"{name} {value:g}" for name, value in values.items())


def number(value: float | None) -> str:
    """Two digits."""
    return "" if value is None else f"{value:.2f}"


def percent(value: float | None) -> str:
    """A fraction as a percentage."""
    return "" if value is None else f"{100 * value:.1f} %"


def minute(at: datetime) -> str:
    """To the minute."""
    return f"{at:%Y-%m-%d %H:%M}"
