"""`trader sweep`, `trader walk-forward`, `trader optimize`, and `trader research`: what runs, goes on, or is over."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.backtests import Html, Png, check_folders, write_made
from app.commands.console import chosen_settings, errors, out, print_rows
from app.commands.research_options import Grid, Shared, Top, Traded, read_grid, with_options
from app.commands.research_results import minute, number, percent, print_run, values_of
from app.domain.errors import InvalidInput
from app.domain.research import ResearchRun, RunState

if TYPE_CHECKING:
    from app.services.research.runs import ResearchService

research = typer.Typer(name="research", help="Runs of sweeps, walk-forwards and searches.", no_args_is_help=True)

Strategy = Annotated[str, typer.Argument(help="A strategy of the catalog or of your own: trader strategy list.")]
AsJson = Annotated[bool, typer.Option("--json", help="The result as JSON.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="As `trader research list` prints it.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Who does the work, and where its result goes. Each field is an option of that name."""

    queue: Annotated[int, typer.Option(min=0, max=64, help="Leave it to so many workers of the queue; 0: do it here.")] = 0
    as_json: AsJson = False
    html: Html = None
    png: Png = None


@with_options(shared=Shared, traded=Traded, way=Way)
def sweep(
    strategy: Strategy,
    grid: Grid,
    axes: Annotated[str | None, typer.Option(help='The two parameters of the heat map: "fast slow".')] = None,
    top: Top = 10,
    fill: Annotated[
        str, typer.Option(help="next_open; or close, OPTIMISTIC, only to compare with programs that trade on close.")
    ] = "next_open",
    *,
    shared: Shared,
    traded: Traded,
    way: Way,
) -> None:
    """Try every combination of parameters on the first part of the bars, choose on the second, tell the worth on the third."""
    own = {"grid": read_grid(grid), "axes": _axes(axes), "fill": fill, "top": top}
    _begin("sweep", {"strategy": strategy, **shared.request(), **asdict(traded), **own}, way)


@with_options(shared=Shared, way=Way)
def walk_forward(
    strategy: Annotated[str, typer.Argument(help="A strategy of the catalog, or ensemble: the models, trained anew.")],
    grid: Grid = "",
    train_bars: Annotated[int, typer.Option(min=20, help="Bars that each window's values are chosen on.")] = 756,
    test_bars: Annotated[int, typer.Option(min=2, help="Bars they are then traded on.")] = 126,
    anchored: Annotated[bool, typer.Option("--anchored", help="Choose on all earlier bars, not only the newest.")] = False,
    embargo_bars: Annotated[int, typer.Option(min=0, help="Bars left out between the two.")] = 0,
    splits: Annotated[
        str, typer.Option(help="rolling, or combinatorial: judged on every choice of groups of bars.")
    ] = "rolling",
    groups: Annotated[int, typer.Option(min=2, max=30, help="Groups of bars of combinatorial splits.")] = 6,
    tested: Annotated[int, typer.Option(min=1, max=29, help="How many of the groups each of them is judged on.")] = 2,
    *,
    shared: Shared,
    way: Way,
) -> None:
    """Choose on each window's past, trade the bars after it, all windows in one account with all risk rules and costs."""
    own = {
        "grid": read_grid(grid),
        "train_bars": train_bars,
        "test_bars": test_bars,
        "anchored": anchored,
        "embargo_bars": embargo_bars,
        "splits": splits,
        "groups": groups,
        "tested": tested,
    }
    _begin("walk_forward", {"strategy": strategy, **shared.request(), **own}, way)


@with_options(shared=Shared, traded=Traded, way=Way)
def optimize(
    strategy: Strategy = "weighted_ensemble",
    bounds: Annotated[str, typer.Option(help='What is searched: "fast=5:50 slow=20:200". Default: all parameters.')] = "",
    trials: Annotated[int, typer.Option(min=1, max=10_000, help="Sets tried at most.")] = 100,
    seconds: Annotated[float, typer.Option(min=0, help="No set is begun later than so long after; 0: no limit.")] = 0.0,
    top: Top = 10,
    *,
    shared: Shared,
    traded: Traded,
    way: Way,
) -> None:
    """Search parameters on the first part of the bars (Optuna), choose on the second, tell the worth on the third."""
    searched = {name: (values[0], values[-1]) for name, values in read_grid(bounds, ranges_only=True).items()}
    own = {"bounds": searched, "trials": trials, "seconds": seconds, "top": top}
    _begin("optimize", {"strategy": strategy, **shared.request(), **asdict(traded), **own}, way)


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
            "begun": minute(run.created_at),
            "error": run.error or "",
        }
        for run in runs
    )


@research.command()
def show(run: RunId, as_json: AsJson = False) -> None:
    """What came of a run. Exit code 1 unless it is done."""
    with _service() as service:
        _tell(service.run(run), as_json)


@research.command(epilog="Example: trader research report 5d0c6c8b4b9e --html report.html --png report.png")
def report(run: RunId, html: Html = None, png: Png = None) -> None:
    """Write the report of a run that is done: a page, a picture, or both."""
    if html is None and png is None:
        raise InvalidInput("say where to write it: --html FILE, --png FILE, or both")
    check_folders(html, png)
    with _service() as service:
        _write(service, service.run(run), html=html, png=png)


@research.command()
def resume(run: RunId, as_json: AsJson = False) -> None:
    """Go on with a run that was interrupted, here; others may work on it at the same time."""
    with _service() as service:
        _tell(_work(service, run, as_json), as_json)


@research.command()
def cancel(run: RunId) -> None:
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
            "at": minute(row.created_at),
            "strategy": row.strategy,
            "parameters": values_of(row.parameters),
            "sharpe": number(row.sharpe),
            "return": percent(row.total_return),
            "drawdown": percent(row.max_drawdown),
            "win rate": percent(row.win_rate),
            "run": row.run_id,
        }
        for row in found
    )


def _axes(text: str | None) -> list[str] | None:
    names = None if text is None else text.replace(",", " ").split()
    if names is not None and len(names) != 2:
        raise InvalidInput('--axes takes two parameters of the grid, such as "fast slow"')
    return names


def _begin(kind: str, request: Mapping[str, Any], way: Way) -> None:
    check_folders(way.html, way.png)
    if way.queue and (way.html or way.png):
        raise InvalidInput("the workers write no report; when the run is done: trader research report RUN --html FILE")
    with _service() as service:
        if way.queue:
            run_id = service.submit(kind, request, lambda begun: _ring(begun, way.queue))
            out.print(f"run {run_id}: the workers do it; see trader research show {run_id}")
            return
        run = _work(service, service.start(kind, request), way.as_json)
        _tell(run, way.as_json)
        _write(service, run, html=way.html, png=way.png)


def _ring(run_id: str, workers: int) -> None:
    from app.celery_config import CeleryTaskQueue, make_celery
    from app.wiring import open_without_migrating

    chosen = chosen_settings()
    database = open_without_migrating(chosen)
    try:
        CeleryTaskQueue(make_celery(chosen), database).ring_research(run_id, workers)
    finally:
        database.close()


def _work(service: ResearchService, run_id: str, as_json: bool) -> ResearchRun:
    from app.local.terminal import Terminal

    if not as_json:
        out.print(f"run {run_id}; interrupted, it goes on with: trader research resume {run_id}", soft_wrap=True)
    with Terminal(errors if as_json else out).progress("research") as line:
        return service.work(run_id, line.show, wait=True)


def _tell(run: ResearchRun, as_json: bool) -> None:
    if as_json:
        told = {"run_id": run.run_id, "state": run.state, "error": run.error, "result": dict(run.result or {})}
        typer.echo(json.dumps(told, indent=2))
    else:
        print_run(run)
    if run.state is not RunState.DONE:
        raise typer.Exit(1)


def _write(service: ResearchService, run: ResearchRun, *, html: Path | None, png: Path | None) -> None:
    """The files asked for. A walk-forward is kept as a backtest, and its report is that."""
    if html is None and png is None:
        return
    from app.reports.html import page, research_page
    from app.reports.png import picture
    from app.reports.research_png import research_picture
    from app.storage.columns import plain

    backtest = service.backtest(run)
    is_backtest, stored = backtest is not None, plain(backtest or run)
    write_made(html, lambda: (page if is_backtest else research_page)(stored).encode())
    write_made(png, lambda: (picture if is_backtest else research_picture)(stored))


@contextmanager
def _service() -> Iterator[ResearchService]:
    from app.wiring import build_research

    yield build_research(chosen_settings())
