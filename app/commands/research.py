"""`trader sweep`, `trader walk-forward`, `trader optimize`, and `trader research`: what runs, goes on, or is over."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from app.commands.arguments import Symbols, read_date, read_symbols
from app.commands.console import chosen_settings, out, print_rows
from app.commands.paths import print_paths
from app.commands.trials import print_verdict
from app.domain.errors import InvalidInput
from app.domain.research import ResearchRun, RunState

if TYPE_CHECKING:
    from app.services.research.runs import ResearchService

research = typer.Typer(name="research", help="Runs of sweeps, walk-forwards and searches.", no_args_is_help=True)
_COLUMNS = 12  # of a heat map on the screen

Strategy = Annotated[str, typer.Argument(help="A strategy of the catalog: trader strategy list.")]
Grid = Annotated[
    str,
    typer.Option(
        "--grid", help='Values to try: "fast=5,10,20 slow=50:200:25" (from:to:step, both ends). Every combination is tried.'
    ),
]
Held = Annotated[str, typer.Option("--set", help='Parameters held fixed: "fast=10 slow=50". The others are at their defaults.')]
Data = Annotated[str | None, typer.Option(help="Bars from a Parquet or CSV file instead of the stored ones.")]
Timeframe = Annotated[str, typer.Option(help="1Min, 5Min, 15Min, 30Min, 1Hour or 1Day.")]
First = Annotated[str | None, typer.Option("--start", metavar="DATE", help="First day of the bars.")]
Last = Annotated[str | None, typer.Option("--end", metavar="DATE", help="Last day of the bars.")]
Capital = Annotated[float, typer.Option(help="Money to begin with.")]
Slippage = Annotated[float, typer.Option(help="Worse than the price by so many hundredths of a percent.")]
Commission = Annotated[float, typer.Option(help="Commission, hundredths of a percent of the value.")]
Fill = Annotated[str, typer.Option(help="next_open; or close, OPTIMISTIC, only to compare with programs that trade on close.")]
Top = Annotated[int, typer.Option(min=1, max=100, help="How many of the best go on to the validation bars.")]
Queue = Annotated[int, typer.Option(min=0, max=64, help="Leave the work to so many workers of the queue; 0: do it here.")]
AsJson = Annotated[bool, typer.Option("--json", help="The result as JSON.")]


def sweep(
    strategy: Strategy,
    grid: Grid,
    held: Held = "",
    data: Data = None,
    symbols: Symbols = None,
    timeframe: Timeframe = "1Day",
    start: First = None,
    end: Last = None,
    capital: Capital = 100_000.0,
    slippage_bps: Slippage = 2.0,
    commission_bps: Commission = 0.0,
    fill: Fill = "next_open",
    axes: Annotated[str | None, typer.Option(help='The two parameters of the heat map: "fast slow".')] = None,
    top: Top = 10,
    queue: Queue = 0,
    as_json: AsJson = False,
) -> None:
    """Try every combination of parameters on the first part of the bars, choose on the second, tell the worth on the third."""
    request = {
        **_common(strategy, held, data, symbols, timeframe, start, end, capital, slippage_bps, commission_bps),
        "grid": read_grid(grid),
        "axes": axes and axes.replace(",", " ").split(),
        "fill": fill,
        "top": top,
    }
    _begin("sweep", request, queue, as_json)


def walk_forward(
    strategy: Annotated[str, typer.Argument(help="A strategy of the catalog, or ensemble: the models, trained anew.")],
    grid: Grid = "",
    held: Held = "",
    data: Data = None,
    symbols: Symbols = None,
    timeframe: Timeframe = "1Day",
    start: First = None,
    end: Last = None,
    capital: Capital = 100_000.0,
    slippage_bps: Slippage = 2.0,
    commission_bps: Commission = 0.0,
    train_bars: Annotated[int, typer.Option(min=20, help="Bars that each window's values are chosen on.")] = 756,
    test_bars: Annotated[int, typer.Option(min=2, help="Bars they are then traded on.")] = 126,
    anchored: Annotated[bool, typer.Option("--anchored", help="Choose on all earlier bars, not only the newest.")] = False,
    embargo_bars: Annotated[int, typer.Option(min=0, help="Bars left out between the two.")] = 0,
    splits: Annotated[
        str, typer.Option(help="rolling, or combinatorial: judged on every choice of groups of bars.")
    ] = "rolling",
    groups: Annotated[int, typer.Option(min=2, max=30, help="Groups of bars of combinatorial splits.")] = 6,
    tested: Annotated[int, typer.Option(min=1, max=29, help="How many of the groups each of them is judged on.")] = 2,
    queue: Queue = 0,
    as_json: AsJson = False,
) -> None:
    """Choose on each window's past, trade the bars after it, all windows in one account with all risk rules and costs."""
    request = {
        **_common(strategy, held, data, symbols, timeframe, start, end, capital, slippage_bps, commission_bps),
        "grid": read_grid(grid),
        "train_bars": train_bars,
        "test_bars": test_bars,
        "anchored": anchored,
        "embargo_bars": embargo_bars,
        "splits": splits,
        "groups": groups,
        "tested": tested,
    }
    _begin("walk_forward", request, queue, as_json)


def optimize(
    strategy: Strategy = "weighted_ensemble",
    bounds: Annotated[str, typer.Option(help='What is searched: "fast=5:50 slow=20:200". Default: all parameters.')] = "",
    held: Held = "",
    data: Data = None,
    symbols: Symbols = None,
    timeframe: Timeframe = "1Day",
    start: First = None,
    end: Last = None,
    capital: Capital = 100_000.0,
    slippage_bps: Slippage = 2.0,
    commission_bps: Commission = 0.0,
    trials: Annotated[int, typer.Option(min=1, max=10_000, help="Sets tried at most.")] = 100,
    seconds: Annotated[float, typer.Option(min=0, help="No set is begun later than so long after; 0: no limit.")] = 0.0,
    top: Top = 10,
    queue: Queue = 0,
    as_json: AsJson = False,
) -> None:
    """Search parameters on the first part of the bars (Optuna), choose on the second, tell the worth on the third."""
    request = {
        **_common(strategy, held, data, symbols, timeframe, start, end, capital, slippage_bps, commission_bps),
        "bounds": {name: (values[0], values[-1]) for name, values in read_grid(bounds, ranges_only=True).items()},
        "trials": trials,
        "seconds": seconds,
        "top": top,
    }
    _begin("optimize", request, queue, as_json)


@research.command(name="list")
def listing(limit: Annotated[int, typer.Option(min=1, max=1000)] = 20) -> None:
    """The newest runs and how far they are."""
    with _service() as service:
        runs = service.runs(limit)
    print_rows(
        {
            "run": run.run_id,
            "kind": run.kind,
            "strategy": run.request.get("strategy", ""),
            "state": run.state,
            "done": f"{run.done} of {run.chunks}",
            "begun": _minute(run.created_at),
            "error": run.error or "",
        }
        for run in runs
    )


@research.command()
def show(run: str, as_json: AsJson = False) -> None:
    """What came of a run. Exit code 1 unless it is done."""
    with _service() as service:
        _tell(service.run(run), as_json)


@research.command()
def resume(run: str, as_json: AsJson = False) -> None:
    """Go on with a run that was interrupted, here; others may work on it at the same time."""
    with _service() as service:
        _work(service, run, as_json)


@research.command()
def cancel(run: str) -> None:
    """Stop a run wherever it is worked on. What was counted stays counted."""
    with _service() as service:
        out.print(f"{run}: {service.cancel(run).state}")


@research.command()
def best(limit: Annotated[int, typer.Option(min=1, max=1000)] = 20) -> None:
    """The parameters that searches chose, newest first."""
    with _service() as service:
        found = service.results(limit, only_best=True)
    print_rows(
        {
            "at": _minute(row.created_at),
            "strategy": row.strategy,
            "parameters": _values(row.parameters),
            "sharpe": _number(row.sharpe),
            "return": _percent(row.total_return),
            "drawdown": _percent(row.max_drawdown),
            "win rate": _percent(row.win_rate),
            "run": row.run_id,
        }
        for row in found
    )


def read_grid(text: str, *, ranges_only: bool = False) -> dict[str, list[float]]:
    """ "fast=5,10 slow=50:200:25" as values by name. ranges_only: "low:high", without a step."""
    found: dict[str, list[float]] = {}
    for part in text.split():
        name, equals, said = part.partition("=")
        try:
            if not (name and equals and said):
                raise ValueError
            found[name] = _numbers(said, ranges_only=ranges_only)
        except ValueError:
            wanted = "low:high" if ranges_only else "1,2,3 or 10:50:5"
            raise InvalidInput(f"{part}: write NAME={wanted}, names apart by spaces") from None
    return found


def _numbers(said: str, *, ranges_only: bool) -> list[float]:
    parts = [float(one) for one in said.split(":")] if ":" in said else []
    if ranges_only:
        low, high = parts
        return [low, high]
    if not parts:
        return [float(one) for one in said.split(",") if one]
    low, high, step = parts
    if not (step > 0 and low <= high < low + 1000 * step):  # NaN lands here too
        raise ValueError
    count = math.floor((high - low) / step + 1e-9) + 1
    return [round(low + i * step, 12) for i in range(count)]


def _common(
    strategy: str,
    held: str,
    data: str | None,
    symbols: str | None,
    timeframe: str,
    start: str | None,
    end: str | None,
    capital: float,
    slippage_bps: float,
    commission_bps: float,
) -> dict[str, Any]:
    fixed = read_grid(held)
    several = [name for name, values in fixed.items() if len(values) != 1]
    if several:
        raise InvalidInput(f"{', '.join(several)}: --set holds one value each; use --grid to vary it")
    return {
        "strategy": strategy,
        "values": {name: values[0] for name, values in fixed.items()},
        "data": data,
        "symbols": list(read_symbols(symbols) or ()),
        "timeframe": timeframe,
        "start": start and read_date(start),
        "end": end and read_date(end),
        "capital": capital,
        "slippage_bps": slippage_bps,
        "commission_bps": commission_bps,
    }


def _begin(kind: str, request: Mapping[str, Any], queue: int, as_json: bool) -> None:
    with _service() as service:
        run_id = service.start(kind, request)
        if not queue:
            _work(service, run_id, as_json)
            return
    _ring(run_id, queue)
    out.print(f"run {run_id}: the workers do it; see trader research show {run_id}")


def _ring(run_id: str, workers: int) -> None:
    from app.celery_config import CeleryTaskQueue, make_celery
    from app.wiring import open_without_migrating

    chosen = chosen_settings()
    database = open_without_migrating(chosen)
    try:
        CeleryTaskQueue(make_celery(chosen), database).ring_research(run_id, workers)
    finally:
        database.close()


def _work(service: ResearchService, run_id: str, as_json: bool) -> None:
    from app.local.terminal import Terminal

    if not as_json:
        out.print(f"run {run_id}; interrupted, it goes on with: trader research resume {run_id}", soft_wrap=True)
    with Terminal(out).progress("research") as line:
        run = service.work(run_id, line.show, wait=True)
    _tell(run, as_json)


def _tell(run: ResearchRun, as_json: bool) -> None:
    result = dict(run.result or {})
    if as_json:
        typer.echo(json.dumps({"run_id": run.run_id, "state": run.state, "error": run.error, "result": result}, indent=2))
    elif run.state is not RunState.DONE:
        out.print(f"{run.kind} {run.state}, {run.done} of {run.chunks} parts done. {escape(run.error or '')}", soft_wrap=True)
    elif "combinatorial" in result:
        print_paths(result)
    elif run.kind == "walk_forward":
        _tell_walk_forward(result)
    else:
        _tell_search(result)
    if run.state is not RunState.DONE:
        raise typer.Exit(1)


def _tell_search(result: Mapping[str, Any]) -> None:
    parts = ", ".join(f"{name} {part['start'][:10]} to {part['end'][:10]}" for name, part in result["parts"].items())
    out.print(f"{result['strategy']}: {parts}", soft_wrap=True)
    table = result["table"]
    varied = [name for name in table[0]["values"] if len({row["values"][name] for row in table}) > 1]
    if "heat_map" in result:
        _heat_map(result["heat_map"])
    print_rows(
        {
            **{name: f"{row['values'][name]:g}" for name in varied},
            "trades": row["train"]["trades"],
            "sharpe on train": _number(row["train"]["sharpe"]),
            **{
                f"{name} on {part}": shown(row[part][figure]) if part in row else ""
                for part in ("validation", "holdout")
                for name, figure, shown in (("sharpe", "sharpe", _number), ("return", "total_return", _percent))
            },
        }
        for row in table
    )
    trials = result["trials"]
    out.print(
        f"chosen: {_values(result['best']['values'])}. {trials['evaluated']} sets were evaluated here; "
        f"{trials['counted_on_these_bars']} configurations have been tried on these bars by now, each a chance for luck.",
        soft_wrap=True,
    )
    out.print(f"fills: {result['assumptions']['fills']}", soft_wrap=True)
    if result.get("verdict"):
        print_verdict(result["verdict"])


def _tell_walk_forward(result: Mapping[str, Any]) -> None:
    print_rows(
        {
            "window": row["window"] + 1,
            "from": row["test"]["start"][:10],
            "to": row["test"]["end"][:10],
            "chosen": _values(row["values"]) if "values" in row else "",
            "sharpe in sample": _number(row["in_sample"]["sharpe"]) if "in_sample" in row else "",
            "out of sample": _number(row["out_of_sample"]["sharpe"]) if "out_of_sample" in row else "",
            "account": _percent(row["account_return"]),
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


def _heat_map(found: Mapping[str, Any]) -> None:
    """Sharpe ratios of the train part: the best green, the worst red, in steps where there are many columns."""
    shown = range(0, len(found["x_values"]), -(-len(found["x_values"]) // _COLUMNS))
    cells = [value for row in found["sharpe"] for value in row if value is not None]
    if not cells:
        return
    low, high = min(cells), max(cells)
    held = f" at {_values(found['held'])}" if found["held"] else ""
    out.print(f"Sharpe ratio on the train part: {found['x']} across, {found['y'] or 'nothing'} down{held}", soft_wrap=True)
    table = Table(f"{found['y'] or ''} ", *(f"{found['x_values'][i]:g}" for i in shown), box=None, padding=0)
    for at, row in zip(found["y_values"], found["sharpe"], strict=True):
        table.add_row("" if at is None else f"{at:g} ", *(_cell(row[i], low, high) for i in shown))
    out.print(table)


def _cell(value: float | None, low: float, high: float) -> str:
    if value is None:
        return ""
    share = (value - low) / (high - low) if high > low else 0.5
    red, green = round(200 * (1 - share)), round(160 * share)
    return f"[white on rgb({red},{green},60)] {value:5.2f} [/]"


@contextmanager
def _service() -> Iterator[ResearchService]:
    from app.wiring import build_research

    yield build_research(chosen_settings())


def _values(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items())


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
