"""The `trader` command."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from app import __version__
from app.commands.console import errors, out, print_rows, services
from app.commands.risk import risk
from app.domain.errors import AlphaTraderError, InvalidInput, TryAgain

cli = typer.Typer(
    name="trader",
    help="Alpha Trader: forecasts, decides, limits its risk and trades, on a simulated exchange unless told otherwise.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cli.add_typer(risk)

Data = Annotated[
    Path | None,
    typer.Option(help="Bars to replay: Parquet or CSV, long format (symbol, timestamp, open, high, low, close, volume)."),
]
Start = Annotated[str | None, typer.Option(metavar="DATE", help="First day of the run, such as 2022-03-01. Begins a new run.")]
Symbols = Annotated[
    str | None, typer.Option(help='Symbols, apart by spaces or commas: "AAPL MSFT SPY". Default: the watch list.')
]
Seed = Annotated[int | None, typer.Option(help="Seed of the generated market and of the path inside a day.")]
Cash = Annotated[str | None, typer.Option(metavar="AMOUNT", help="Money to begin with.")]
Speed = Annotated[
    str, typer.Option(metavar="N|follow", help="Simulated seconds per second, or as fast as the clients of its streams read.")
]


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
        start=_date(start),
        symbols=_symbols(symbols),
        seed=seed,
        cash=_amount(cash),
        speed=speed,
        cycles=cycles,
        port=port,
        nightly=nightly,
    )
    raise typer.Exit(run(settings(), wish, Terminal()))


_SIMULATOR = """Run the simulated exchange alone: an Alpaca without an account, for any Alpaca client.

\b
trader simulator                                            a generated market, the clock moved by hand
trader simulator --data bars.parquet --start 2022-03-01     replay a file
trader simulator --data days.csv --data minutes.csv         history from one file, minutes from another
trader simulator --speed 60                                 a simulated minute each second
trader simulator --speed follow                             as fast as the clients of its streams read
trader simulator --state run.sqlite                         survives a restart, and kill -9

Give your client http://127.0.0.1:5801 as address and any key and secret. Each key is an account of its own.

\b
TradingClient("any", "thing", url_override="http://127.0.0.1:5801")
curl -H APCA-API-KEY-ID:any -H APCA-API-SECRET-KEY:thing localhost:5801/v2/account
curl -X POST localhost:5801/sim/clock -d '{"advance_seconds": 600}'
curl -X POST localhost:5801/sim/clock -d '{"next_open": true}'
curl -X POST localhost:5801/sim/faults -d '{"what": "status", "status": 504, "path": "/v2/orders", "when": "after"}'
curl localhost:5801/sim/ledger

Nothing fills before the clock moves. Faults, barriers, streams, snapshots, order rules: docs/simulated-exchange.md
"""


@cli.command(help=_SIMULATOR)
def simulator(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 5801,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Bars to replay: Parquet or CSV, long format (symbol, timestamp, open, high, low, close, volume), at any "
            "timeframe. Give it again for more files: where they cover the same day, the finer bars count."
        ),
    ] = None,
    start: Start = None,
    actions: Annotated[
        Path | None, typer.Option(help="Splits and dividends: CSV with symbol, ex_date, kind (split or dividend), value.")
    ] = None,
    prices: Annotated[
        str, typer.Option(metavar="raw|split", help="Whether the files hold prices as traded or split-adjusted ones.")
    ] = "raw",
    news: Annotated[
        Path | None, typer.Option(help="Articles: CSV with time, symbols, headline, and optionally summary, source, url.")
    ] = None,
    extended_hours: Annotated[
        bool, typer.Option(help="Invent prices before and after the sessions where the files have none.")
    ] = False,
    speed: Speed = "0",
    seed: Annotated[int, typer.Option(help="Seed of the generated market and of the path inside a day.")] = 7,
    symbols: Symbols = None,
    cash: Annotated[str, typer.Option(metavar="AMOUNT", help="Money to begin with.")] = "100000",
    state: Annotated[Path | None, typer.Option(help="File that keeps orders, fills and the clock over a restart.")] = None,
    skip_closed: Annotated[bool, typer.Option(help="Jump from each close to the next open.")] = True,
    multiplier: Annotated[
        int, typer.Option(metavar="1|2|4", help="What accounts may buy for each dollar of their own; 1: cash only, no shorts.")
    ] = 2,
    cancel_seconds: Annotated[
        float, typer.Option(min=0, max=86_400, help="Simulated seconds until a cancel takes effect.")
    ] = 0.0,
    participation: Annotated[
        str | None, typer.Option(metavar="SHARE", help="Most of a minute's volume that one order takes, such as 0.1.")
    ] = None,
    partial_probability: Annotated[
        str | None, typer.Option(metavar="SHARE", help="How many orders fill in pieces at random; Alpaca's paper account: 0.1.")
    ] = None,
    cost: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="What a fill costs: slippage_bps (2), half_spread_bps, impact_bps, commission_bps, commission_per_share, "
            "minimum_commission. May be given often.",
        ),
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option(metavar="ID:SECRET", help="A key with an account from the start; may be given often.")
    ] = None,
    keys_required: Annotated[
        bool, typer.Option("--keys-required", help="Let in no other keys but those of --key and POST /sim/accounts.")
    ] = False,
    rate_limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Requests a minute and account, 429 beyond; Alpaca: 200.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether data, symbols and start can be used, and end.")
    ] = False,
) -> None:
    """Serve the simulated exchange until it is stopped."""
    from app.simulator.clock import read_speed
    from app.simulator.options import SimulatorOptions
    from app.simulator.server import check as check_market
    from app.simulator.server import serve

    options = SimulatorOptions(
        host=host,
        port=port,
        data=tuple(data or ()),
        start=_date(start),
        actions=actions,
        prices=prices,
        news=news,
        extended_hours=extended_hours,
        speed=read_speed(speed),
        seed=seed,
        symbols=_symbols(symbols) or (),
        cash=_amount(cash) or Decimal(100_000),
        state_file=state,
        skip_closed=skip_closed,
        multiplier=multiplier,
        costs=_costs(cost or []),
        cancel_seconds=cancel_seconds,
        participation=_amount(participation),
        partial_probability=_amount(partial_probability) or Decimal(0),
        keys=tuple(_key(pair) for pair in key or ()),
        keys_required=keys_required,
        rate_limit=rate_limit,
    )
    if check:
        out.print(escape(check_market(options)), soft_wrap=True)
    else:
        serve(options)


@cli.command(epilog="Example: trader train --symbols 'AAPL MSFT'")
def train(symbols: Symbols = None) -> None:
    """Train the models of every symbol now, on bars up to the venue's clock, in this process."""
    chosen = _symbols(symbols)
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
    chosen = _symbols(symbols)
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


@cli.command(epilog="Example: trader backtest --symbols 'AAPL MSFT SPY' --days 252 --capital 100000")
def backtest(
    symbols: Symbols = None,
    days: Annotated[int, typer.Option(min=2, help="Sessions to go back.")] = 90,
    capital: Annotated[str, typer.Option(metavar="AMOUNT", help="Money to begin with.")] = "100000",
    start: Annotated[str | None, typer.Option(metavar="DATE", help="First day, instead of --days.")] = None,
    end: Annotated[str | None, typer.Option(metavar="DATE", help="Last day.")] = None,
) -> None:
    """Test the trading rules on past bars, with costs, beside buy-and-hold."""
    asked = {
        "symbols": list(_symbols(symbols) or ()) or None,
        "days": days,
        "initial_capital": str(_amount(capital)),
        "start": start and str(_date(start)),
        "end": end and str(_date(end)),
    }
    with services() as held, _bar("backtest") as show:
        result = held.backtests.run({name: value for name, value in asked.items() if value is not None}, progress=show)
    _figures("backtest", result)


@cli.command()
def status() -> None:
    """What runs on this machine, and its last cycles."""
    from app.config import settings
    from app.local.installation import running
    from app.local.terminal import new_york
    from app.local.up import log_to, open_ledger

    known = running(settings().state_dir)
    if known is None:
        out.print("nothing runs here; start it with: trader up")
        raise typer.Exit(3)
    out.print(f"running: pid {known['pid']}, {known['mode']} mode, {known['url']}")
    table = Table("slot (New York)", "outcome", "detail", box=None, title_justify="left")
    with _adopted(known["environment"]) as chosen:
        log_to(chosen.logs_dir / "trader.log")
        for cycle in open_ledger(chosen).cycles(10):
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
def _adopted(environment: Mapping[str, str]) -> Any:
    """Settings of an installation that runs here."""
    from app.config import Settings

    os.environ.update(environment)
    yield Settings()


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


def _figures(title: str, result: Mapping[str, Any]) -> None:
    """A table of a result's figures, those of nested parts under their part's name."""
    from app.tasks.recorded import plain

    table = Table("figure", "value", title=title, title_justify="left", box=None)
    for name, value in plain(result).items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for part, figure in parts:
            if not isinstance(figure, (dict, list)):
                text = f"{figure:.4f}" if isinstance(figure, float) else str(figure)
                table.add_row(f"{name} {part}".strip(), escape(text))
    out.print(table)


def _symbols(text: str | None) -> tuple[str, ...] | None:
    from app.config import is_symbol

    if text is None:
        return None
    symbols = tuple(dict.fromkeys(text.replace(",", " ").upper().split()))
    bad = [symbol for symbol in symbols if not is_symbol(symbol)]
    if bad or not symbols:
        raise InvalidInput(f"not a list of symbols: {' '.join(bad) or 'it is empty'}")
    return symbols


def _date(text: str | None) -> date | None:
    try:
        return None if text is None else datetime.fromisoformat(text).date()
    except ValueError:
        raise InvalidInput(f"not a date: {text}; write it as 2022-03-01") from None


def _amount(text: str | None) -> Decimal | None:
    try:
        amount = None if text is None else Decimal(text.replace(",", "").replace("_", ""))
    except ArithmeticError:
        raise InvalidInput(f"not an amount: {text}") from None
    if amount is not None and not (amount.is_finite() and 0 < amount < Decimal(10) ** 12):
        raise InvalidInput(f"not an amount to begin with: {text}")
    return amount


def _costs(pairs: list[str]) -> Any:
    from dataclasses import fields

    from app.engine.costs import CostModel

    named = dict(pair.partition("=")[::2] for pair in pairs)
    unknown = sorted(set(named) - {field.name for field in fields(CostModel)})
    if unknown:
        known = ", ".join(field.name for field in fields(CostModel))
        raise typer.BadParameter(f"--cost {unknown[0]!r}: give NAME=VALUE, where NAME is one of {known}")
    try:
        return CostModel(**{name: Decimal(value) for name, value in named.items()})
    except ArithmeticError:
        raise typer.BadParameter("--cost: a value must be a number, such as slippage_bps=1.5") from None


def _key(pair: str) -> tuple[str, str]:
    key_id, _, secret = pair.partition(":")
    if not (key_id and secret):
        raise InvalidInput("--key takes a key id and a secret, as in --key bot:secret")
    return key_id, secret


def _file(path: Path | None) -> Path | None:
    if path is not None and not path.is_file():
        raise InvalidInput(f"no such file: {path}")
    return path


if __name__ == "__main__":
    main()
