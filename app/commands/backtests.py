"""`trader backtests`: what was tested, its report, and several side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from app.commands.console import out, print_rows, services
from app.domain.errors import InvalidInput
from app.reports import text
from app.reports.figures import FIGURES, GROUPS
from app.reports.verdict import verdict_of
from app.runtime.whole_file import replace_file
from app.storage.columns import plain

if TYPE_CHECKING:
    from app.wiring import Services

backtests = typer.Typer(name="backtests", help="Finished backtests: list, figures, report, comparison.", no_args_is_help=True)

_SHORT = 12  # letters of an id in tables
_REMEMBERED = 1000  # of the newest backtests an id may be given by its beginning

Id = Annotated[
    str | None,
    typer.Argument(metavar="[ID]", help="As `trader backtests list` prints it, or its beginning. Default: the newest."),
]
Html = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as a page that stands alone.")]
Png = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as a picture.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@backtests.command(name="list")
def listing(limit: Annotated[int, typer.Option(min=1, max=1000)] = 20, as_json: AsJson = False) -> None:
    """The newest backtests with their headline figures."""
    with services() as held:
        found = held.database.backtests(limit)
    if as_json:
        typer.echo(json.dumps([plain(one) for one in found], indent=2))
        return
    print_rows(
        {
            "id": one.backtest_id[:_SHORT],
            "made (UTC)": f"{one.created_at:%Y-%m-%d %H:%M}",
            "strategy": one.params.get("strategy") or "",
            "symbols": len(one.params.get("symbols") or []),
            "return": FIGURES["total_return"].of(one.performance),
            "Sharpe": FIGURES["sharpe_ratio"].of(one.performance),
            "drawdown": FIGURES["max_drawdown"].of(one.performance),
        }
        for one in found
    )
    if not found:
        out.print("no backtest has been run yet; see: trader backtest --help")


@backtests.command()
def show(backtest_id: Id = None, as_json: AsJson = False) -> None:
    """All figures of a backtest; with --json everything that is stored of it."""
    found = _stored(backtest_id)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    print_figures(found)


@backtests.command(epilog="Example: trader backtests report --html report.html --png report.png")
def report(backtest_id: Id = None, html: Html = None, png: Png = None) -> None:
    """Write the report of a backtest: a page, a picture, or both."""
    if html is None and png is None:
        raise InvalidInput("say where to write it: --html FILE, --png FILE, or both")
    write_reports(_stored(backtest_id), html=html, png=png)


@backtests.command(epilog="Example: trader backtests compare 5d0c6c8b4b9e 2f1a9c0b1d4e")
def compare(ids: Annotated[list[str], typer.Argument(metavar="ID ID...")], as_json: AsJson = False) -> None:
    """Several backtests side by side, what differs between them, and why they may be no fair comparison."""
    from app.services.backtests.comparison import compare as compared

    with services() as held:
        names = dict.fromkeys(_whole_id(held, name) for name in ids)
        found = plain(compared([held.database.backtest(name) for name in names]))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    table = Table("", *(escape(one["backtest_id"][:_SHORT]) for one in found["backtests"]), box=None)
    table.add_row("verdict", *(one["verdict"] or text.UNKNOWN for one in found["backtests"]))
    for name, values in found["differences"].items():
        table.add_row(text.words(name), *(escape(_brief(value)) for value in values))
    for figure in FIGURES.values():
        table.add_row(figure.label, *(figure.of(one["performance"]) for one in found["backtests"]))
    out.print(table)
    for warning in found["warnings"]:
        out.print(f"[bold yellow]no fair comparison:[/] {warning}")


def print_figures(stored: dict[str, Any]) -> None:
    """Verdict and all figures. stored: a backtest as JSON values."""
    out.print(f"[bold]backtest {stored['backtest_id']}[/], made {text.minute(stored['created_at'])} UTC")
    verdict = verdict_of((stored.get("result") or {}).get("verdict"))
    out.print(f"[bold]{verdict.level}[/]: {verdict.headline}" if verdict.checks else verdict.headline)
    for reason in verdict.reasons:
        out.print(f"  {escape(reason)}", soft_wrap=True)
    table = Table("figure", "value", "meaning", box=None)
    for title, members in GROUPS.items():
        table.add_row(f"[bold]{title}[/]", "", "")
        for figure in members:
            table.add_row(f"  {figure.label}", figure.of(stored["performance"]), f"[dim]{escape(figure.meaning)}[/]")
    out.print(table)
    print_attribution((stored.get("result") or {}).get("attribution") or [])


def print_attribution(rows: list[dict[str, Any]]) -> None:
    """What each strategy of a shared account earned; nothing where one has it all."""
    shared = [row for row in rows if "budget" in row]
    if shared:
        print_rows(
            {
                "strategy": row["strategy"],
                "budget": text.percent(row["budget"], 0),
                "profit": text.money(row["profit"]),
                "trades": text.whole(row["trades"]),
                "costs": text.money(row["costs"]),
                "mean exposure": text.percent(row["mean_exposure"]),
                "turnover a year": text.number(row["turnover_per_year"]),
            }
            for row in shared
        )


def write_reports(stored: dict[str, Any], *, html: Path | None, png: Path | None) -> None:
    """Write the page, the picture, or both. stored: a backtest as JSON values."""
    from app.reports.html import page
    from app.reports.png import picture

    check_folders(html, png)
    write_made(html, lambda: page(stored).encode())
    write_made(png, lambda: picture(stored))


def write_made(path: Path | None, make: Callable[[], bytes]) -> None:
    """Make a file whole, and say so; nothing without a path."""
    if path is not None:
        replace_file(path, make())
        out.print(f"written: {path}", soft_wrap=True)


def check_folders(*files: Path | None) -> None:
    """Raises InvalidInput for a file whose folder does not exist; before long work, so that none is lost."""
    for path in files:
        if path is not None and not path.parent.is_dir():
            raise InvalidInput(f"no such folder: {path.parent}")


def _stored(backtest_id: str | None) -> dict[str, Any]:
    with services() as held:
        found: dict[str, Any] = plain(held.database.backtest(_whole_id(held, backtest_id or "")))
    return found


def _whole_id(held: Services, beginning: str) -> str:
    """The id that begins so: that of the newest for "", and what was given where it is a whole one."""
    known = [one.backtest_id for one in held.database.backtests(_REMEMBERED)]
    if not known and not beginning:
        raise InvalidInput("no backtest has been run yet; see: trader backtest --help")
    if not beginning:
        return known[0]
    found = [name for name in known if name.startswith(beginning)]
    if len(found) > 1 and beginning not in found:
        raise InvalidInput(f"{len(found)} backtests begin with {beginning}; give more of the id")
    return found[0] if len(found) == 1 else beginning


def _brief(value: Any) -> str:
    said = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return said if len(said) <= 30 else said[:27] + "..."
