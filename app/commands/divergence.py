"""`trader divergence`: live beside backtest."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import Progress as Bar

from app.commands.arguments import read_date
from app.commands.console import errors, out, print_rows, services

From = Annotated[str | None, typer.Option("--from", metavar="DATE", help="First session; default: the newest.")]
To = Annotated[str | None, typer.Option("--to", metavar="DATE", help="Last session; default: the newest.")]
_MOST_ROWS = 60


def divergence(first: From = None, last: To = None) -> None:
    """Decide and match a recorded period again and tell every difference with its cause, and what each cause cost. Exit code 1
    when a decision comes out otherwise."""
    with services() as held, Bar(console=errors, transient=True) as bar:
        task = bar.add_task("divergence")
        report = held.divergence.report(
            read_date(first),
            read_date(last),
            progress=lambda done, total, what: bar.update(task, completed=done, total=total, description=what),
        )
    told = report.plain()
    out.print(f"{report.first} to {report.last}: {told['cycles']} cycles, {told['decisions']} decisions")
    out.print(f"live {told['live_gain']}, backtest {told['backtest_gain']}, gap {told['gap']}")
    print_rows({"cause": cause, "amount": amount} for cause, amount in told["amounts"].items())
    if told["correlation"] is not None:
        out.print(f"correlation of the daily returns: {told['correlation']:.3f}, above 0.8 is wanted")
    for note in report.notes:
        out.print(f"  {note}", markup=False)
    if told["unjudged_forecasts"]:
        out.print(f"{told['unjudged_forecasts']} forecasts were taken as recorded: their models have been replaced since")
    print_rows(
        {
            "cause": one.cause.value,
            "cycle": one.cycle_id,
            "symbol": one.symbol,
            "what": one.what,
            "live": one.live[:48],
            "again": one.again[:48],
        }
        for one in told["differences"][:_MOST_ROWS]
    )
    if report.agrees:
        out.print("every decision comes out the same")
        return
    out.print(f"[bold red]{told['differing_decisions']} decisions differ[/]")
    raise typer.Exit(1)
