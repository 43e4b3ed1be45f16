"""`trader check`: does a strategy, or do the models, know their future; and do they remember no more than they say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import Progress as Bar

from app.backtest.analysers.futures import Bars
from app.backtest.analysers.lookahead import Findings, restated
from app.commands.arguments import Symbols, read_symbols
from app.commands.console import actor, errors, out, print_rows, services
from app.domain.errors import InvalidInput

if TYPE_CHECKING:
    from app.services.strategies.check_service import CheckService

check = typer.Typer(name="check", help="Analysers: nothing may know its future.", no_args_is_help=True)

Subject = Annotated[str, typer.Argument(metavar="STRATEGY|model", help="A strategy by its name, or `model` for the models.")]
Data = Annotated[
    Path | None,
    typer.Option(help="Bars: Parquet or CSV, long format. Default: stored daily bars, else a generated market."),
]
Generated = Annotated[bool, typer.Option("--generated", help="Use the generated market, whatever is stored.")]
Given = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=NUMBER", help="A parameter of the strategy; may be repeated.")
]
_MOST_SYMBOLS = 8
_MOST_ROWS = 40


@check.command(epilog="Examples: trader check lookahead sma_cross --set fast=5   |   trader check lookahead model --generated")
def lookahead(
    subject: Subject, data: Data = None, symbols: Symbols = None, generated: Generated = False, given: Given = None
) -> None:
    """Compute everything twice, with all bars and with those known at a time, and compare bit by bit. Exit code 1 where
    something differs: the first part named is where the leak is, those after it inherit it."""
    with services() as held, Bar(console=errors, transient=True) as bar:
        task = bar.add_task("lookahead")
        bars = _bars(held.checks, data, read_symbols(symbols), generated)
        found = held.checks.lookahead(
            subject,
            bars=bars,
            values=_values(given),
            progress=lambda done, total, what: bar.update(task, completed=done, total=total, description=what),
        )
    _show(found)


@check.command(epilog='Example: trader check override my_strategy --set fast=5 --reason "it reads a calendar of holidays"')
def override(
    subject: Subject,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; kept for ever, in the audit log too.")],
    given: Given = None,
    by: Annotated[str | None, typer.Option("--actor", help="Who decides; default: who is logged in.")] = None,
) -> None:
    """Let a strategy, or the models, trade real money although `trader check lookahead` found something, or was never run. It
    holds until the next check of it, or until its code or its parameters change."""
    with services() as held:
        decided = held.checks.override(subject, _values(given), actor=by or actor(), reason=reason)
    out.print(
        f"recorded: {escape(decided.actor)} lets {escape(subject)} trade real money since {decided.at:%Y-%m-%d %H:%M}, "
        f"until its next check or change: {escape(decided.reason)}",
        soft_wrap=True,
    )


@check.command(epilog="Example: trader check warmup rsi --data bars.parquet --symbols SPY")
def warmup(
    subject: Subject, data: Data = None, symbols: Symbols = None, generated: Generated = False, given: Given = None
) -> None:
    """How many bars the newest value of each column depends on. Exit code 1 where the declared memory does not give the score
    that all bars give."""
    with services() as held, Bar(console=errors, transient=True) as bar:
        task = bar.add_task("warmup")
        bars = _bars(held.checks, data, read_symbols(symbols), generated)
        found = held.checks.warmup(
            subject,
            bars=bars,
            values=_values(given),
            progress=lambda done, total, what: bar.update(task, completed=done, total=total, description=what),
        )
    _show(found)


@check.command("data", epilog="Example: trader check data march.parquet june.parquet")
def compare_data(
    earlier: Annotated[Path, typer.Argument(help="Bars as they were told first.")],
    later: Annotated[Path, typer.Argument(help="The same bars, as they are told now.")],
) -> None:
    """Bars that were restated after they were known: a backtest on the later telling sees what nobody knew at the time. Exit
    code 1 where a bar of the first file is another one in the second."""
    from app.marketdata.files import load_bars
    from app.services.strategies.check_service import rows_of

    found = restated(load_bars(earlier).bars, load_bars(later).bars)
    if not found:
        out.print("no bar of the first file was restated")
        return
    print_rows(rows_of(found[:_MOST_ROWS]))
    out.print(f"[bold red]{sum(one.rows for one in found)} values were restated[/]")
    raise typer.Exit(1)


def _bars(checks: CheckService, data: Path | None, symbols: tuple[str, ...] | None, generated: bool) -> Bars:
    if data is not None and generated:
        raise InvalidInput("--data or --generated, not both")
    if data is None:
        found: Bars = checks.generated(symbols or ()) if generated else checks.bars(symbols or ())
        return found
    from app.marketdata.files import load_bars

    bars = load_bars(data, symbols=symbols or ()).bars
    return dict(list(bars.items())[:_MOST_SYMBOLS])


def _values(given: list[str] | None) -> dict[str, float]:
    values = {}
    for one in given or ():
        name, _, number = one.partition("=")
        try:
            values[name.strip()] = float(number)
        except ValueError:
            raise InvalidInput(f"not a parameter: {one}; write it as fast=5") from None
    return values


def _show(found: Findings) -> None:
    from app.services.strategies.check_service import rows_of

    out.print(f"{found.subject}: {found.compared:,} values of {', '.join(found.parts)} compared, on up to {found.bars} bars")
    for note in found.notes:
        out.print(note)
    if found.needs is not None:
        print_rows(
            {"column": name, "bars it needs": "more than were tried" if bars is None else bars}
            for name, bars in found.needs.items()
        )
    if found.passed:
        out.print("nothing differs")
        return
    print_rows(rows_of(found.findings[:_MOST_ROWS]))
    out.print(f"[bold red]{found.leak} depends on what was not known[/]")
    raise typer.Exit(1)
