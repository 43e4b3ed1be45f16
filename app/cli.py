"""The `trader` command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from app import __version__
from app.commands.arguments import Start, Symbols, read_amount, read_date, read_symbols
from app.commands.audit import audit
from app.commands.backtest import EXAMPLES as BACKTEST_EXAMPLES
from app.commands.backtest import backtest
from app.commands.backtests import backtests
from app.commands.backup import backup
from app.commands.build import build
from app.commands.check import check
from app.commands.console import chosen_settings, errors, out, print_rows, services
from app.commands.divergence import divergence
from app.commands.doctor import doctor
from app.commands.init import init
from app.commands.reconcile import reconcile
from app.commands.research import optimize, research, sweep, walk_forward
from app.commands.risk import risk
from app.commands.simulator import HELP as SIMULATOR_HELP
from app.commands.simulator import simulator
from app.commands.strategy import strategy
from app.commands.trials import trials, verdict
from app.commands.user import user
from app.domain.errors import AlphaTraderError, InvalidInput, TryAgain

cli = typer.Typer(
    name="trader",
    help="Alpha Trader: forecasts, decides, limits its risk and trades, on a simulated exchange unless told otherwise.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cli.command(epilog="Example: trader init && docker compose up --build -d")(init)
cli.add_typer(risk)
cli.add_typer(audit)
cli.command()(reconcile)
cli.add_typer(check)
cli.command()(divergence)
cli.command()(doctor)
cli.add_typer(build)
cli.add_typer(backup)
cli.add_typer(strategy)
cli.add_typer(user)
cli.add_typer(backtests)
cli.command(epilog=BACKTEST_EXAMPLES)(backtest)
cli.command()(trials)
cli.add_typer(verdict)
cli.command(epilog="Example: trader sweep sma_cross --grid 'fast=5:30:5 slow=40:200:20' --symbols SPY")(sweep)
cli.command(name="walk-forward", epilog="Example: trader walk-forward rsi --grid 'oversold=20,25,30'")(walk_forward)
cli.command(epilog="Example: trader optimize sma_cross --bounds 'fast=3:40 slow=20:250' --trials 200 --symbols SPY")(optimize)
cli.add_typer(research)
cli.command(help=SIMULATOR_HELP)(simulator)

Data = Annotated[
    Path | None,
    typer.Option(help="Bars to replay: Parquet or CSV, long format (symbol, timestamp, open, high, low, close, volume)."),
]
Seed = Annotated[int | None, typer.Option(help="Seed of the generated market and of the path inside a day.")]
Cash = Annotated[str | None, typer.Option(metavar="AMOUNT", help="Money to begin with.")]


@cli.command(epilog="Examples: trader up --cycles 3   |   trader up --data bars.parquet --start 2022-03-01 --speed 600")
def up(
    data: Data = None,
    start: Start = None,
    symbols: Symbols = None,
    speed: Annotated[
        float, typer.Option(min=0.001, help="Simulated seconds per second; above what the machine does: as fast as it goes.")
    ] = 60.0,
    cycles: Annotated[int | None, typer.Option(min=1, help="Stop after so many trading cycles and print a summary.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the API (default 5000).")] = None,
    seed: Seed = None,
    cash: Cash = None,
    nightly: Annotated[bool | None, typer.Option(help="Tune and train at 23:00 UTC of every simulated day. Slow.")] = None,
) -> None:
    """Start everything on this machine and keep it running until Ctrl-C. Without a start date the saved run goes on."""
    from app.config import settings
    from app.local.session import Wish
    from app.local.terminal import Terminal
    from app.local.up import up as run

    wish = Wish(
        data=_file(data),
        start=read_date(start),
        symbols=read_symbols(symbols),
        seed=seed,
        cash=read_amount(cash),
        speed=speed,
        cycles=cycles,
        port=port,
        nightly=nightly,
    )
    raise typer.Exit(run(settings(), wish, Terminal()))


@cli.command(epilog="Example: trader train --symbols 'AAPL MSFT'")
def train(symbols: Symbols = None) -> None:
    """Train the models of every symbol now, on bars up to the venue's clock, in this process."""
    chosen = read_symbols(symbols)
    with services() as held, _bar("training") as show:
        bars, at = held.alpaca.training_bars(chosen)
        reports = held.ai.train_batch(bars, at=at, progress=show)
    out.print(f"trained on bars known by {at:%Y-%m-%d %H:%M} UTC")
    print_rows(
        {
            "symbol": report.symbol,
            "rows": report.rows if report.trained else "",
            "parameters": report.params_source if report.trained else "",
            "error beside forecasting 0": f"{report.scores.mse_over_zero:.3f}" if report.scores else "",
            "not trained because": report.reason or "",
        }
        for report in reports
    )
    _end_well(any(report.trained for report in reports))


@cli.command(epilog="Example: trader tune --symbols AAPL --trials 30")
def tune(
    symbols: Symbols = None, trials: Annotated[int, typer.Option(min=1, max=1000, help="Trials per symbol.")] = 20
) -> None:
    """Search better parameters for every symbol; the next training uses them."""
    chosen = read_symbols(symbols)
    with services() as held, _bar("tuning") as show:
        bars, at = held.alpaca.training_bars(chosen)
        reports = held.optimizer.tune(bars, at=at, trials=trials, progress=show)
    out.print(f"tuned on bars known by {at:%Y-%m-%d %H:%M} UTC")
    print_rows(
        {
            "symbol": report.symbol,
            "loss": f"{report.tuned.loss:.4g}" if report.tuned else "",
            "loss of the defaults": f"{report.tuned.default_loss:.4g}" if report.tuned else "",
            "not tuned because": report.reason or "",
        }
        for report in reports
    )
    _end_well(any(report.tuned for report in reports))


@cli.command()
def status() -> None:
    """What runs on this machine, and its last cycles."""
    from app.config import settings
    from app.local.installation import running
    from app.local.terminal import new_york
    from app.local.up import open_ledger

    known = running(settings().state_dir)
    if known is None:
        out.print("nothing runs here; start it with: trader up")
        raise typer.Exit(3)
    out.print(f"running: pid {known['pid']}, {known['mode']} mode, {known['url']}")
    table = Table("slot (New York)", "outcome", "detail", box=None, title_justify="left")
    for cycle in open_ledger(chosen_settings()).cycles(10):
        table.add_row(new_york(cycle.slot), str(cycle.outcome or cycle.state), escape(cycle.detail[:80]))
    out.print(table)


@cli.command()
def version() -> None:
    """The version of this program."""
    out.print(f"Alpha Trader {__version__}, Python {sys.version.split()[0]}")


def main() -> None:
    """Entry point: an error raised on purpose is one red line and exit code 1, never a traceback."""
    try:
        cli(prog_name="trader")
    except AlphaTraderError as fault:
        errors.print(f"[bold red]{escape(fault.message)}[/]", soft_wrap=True)
        if isinstance(fault, TryAgain):
            errors.print("Is the venue running? In the simulated mode start it first: trader up", soft_wrap=True)
        sys.exit(1)


@contextmanager
def _bar(title: str) -> Any:
    """A progress bar; gives the function that moves it."""
    from app.local.terminal import Terminal

    with Terminal(out).progress(title) as line:
        show: Callable[[int, int, str], None] = line.show
        yield show


def _end_well(well: bool) -> None:
    """Exit code 1 when nothing was achieved."""
    if not well:
        raise typer.Exit(1)


def _file(path: Path | None) -> Path | None:
    if path is not None and not path.is_file():
        raise InvalidInput(f"no such file: {path}")
    return path


if __name__ == "__main__":
    main()
