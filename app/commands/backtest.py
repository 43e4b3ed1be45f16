"""`trader backtest`: the models, a strategy of rules, or a hybrid of both, on past bars."""

from __future__ import annotations

import math
from typing import Annotated, Any

import typer

from app.commands.arguments import Symbols, read_amount, read_date, read_symbols
from app.commands.backtests import Html, Png, check_folders, print_figures, write_reports
from app.commands.console import out, services
from app.domain.errors import InvalidInput

EXAMPLES = (
    "Examples: trader backtest --symbols 'AAPL MSFT SPY' --days 252 --html report.html   |   "
    "trader backtest sma_cross --set 'fast=10 slow=50' --symbols SPY --days 1000 --half-spread-bps 1   |   "
    "trader backtest rsi --timeframe 5Min --symbols 'AAPL NVDA' --days 60 --participation 0.05"
)
Bps = typer.Option(min=0, max=1000, help="Hundredths of a percent of the price.")


def backtest(
    strategy: Annotated[
        str | None, typer.Argument(help="A strategy (trader strategy list); without one, or ensemble: the models are tested.")
    ] = None,
    parameters: Annotated[
        str, typer.Option("--set", help='Its parameters: "fast=10 slow=50". The others are at their defaults.')
    ] = "",
    timeframe: Annotated[str, typer.Option(help="Bars it decides on: 1Min, 5Min, 15Min, 30Min, 1Hour or 1Day.")] = "1Day",
    symbols: Symbols = None,
    days: Annotated[int, typer.Option(min=2, help="Sessions to go back.")] = 90,
    start: Annotated[str | None, typer.Option(metavar="DATE", help="First day, instead of --days.")] = None,
    end: Annotated[str | None, typer.Option(metavar="DATE", help="Last day.")] = None,
    capital: Annotated[str, typer.Option(metavar="AMOUNT", help="Money to begin with.")] = "100000",
    slippage_bps: Annotated[float, Bps] = 2.0,
    half_spread_bps: Annotated[float, Bps] = 0.0,
    impact_bps: Annotated[
        float,
        typer.Option(min=0, max=1000, help="Of an order that takes a bar's whole volume; a quarter of it pays half."),
    ] = 0.0,
    commission_bps: Annotated[float, typer.Option(min=0, max=1000, help="Hundredths of a percent of the value.")] = 0.0,
    commission_per_share: Annotated[float, typer.Option(min=0, max=100)] = 0.0,
    minimum_commission: Annotated[float, typer.Option(min=0, max=100, help="Of each execution.")] = 0.0,
    participation: Annotated[
        float | None,
        typer.Option(help="Largest share of a bar's volume that one order takes, such as 0.1."),
    ] = None,
    html: Html = None,
    png: Png = None,
) -> None:
    """Test the trading rules on past bars, with costs, beside buy-and-hold.

    Risk rules, sizes and fills are those of live trading. A strategy decides when a bar is complete and fills in later
    bars; the models alone decide once a session on daily bars, and are trained anew as the span goes on. Slippage, spread
    and impact are paid by market orders and stops.
    """
    from app.local.terminal import Terminal
    from app.storage.columns import plain

    check_folders(html, png)
    costs = {
        "slippage_bps": slippage_bps,
        "half_spread_bps": half_spread_bps,
        "impact_bps": impact_bps,
        "commission_bps": commission_bps,
        "commission_per_share": commission_per_share,
        "minimum_commission": minimum_commission,
        "participation": participation,
    }
    asked: dict[str, Any] = {
        "strategy": strategy,
        "parameters": read_parameters(parameters) or None,
        "timeframe": timeframe,
        "symbols": list(read_symbols(symbols) or ()) or None,
        "days": days,
        "initial_capital": str(read_amount(capital)),
        "start": start and str(read_date(start)),
        "end": end and str(read_date(end)),
        **{name: str(value) for name, value in costs.items() if value is not None},
    }
    with services() as held, Terminal(out).progress("backtest") as line:
        wanted = {name: value for name, value in asked.items() if value is not None}
        result = held.backtests.run(wanted, progress=line.show)
        stored = plain(held.database.backtest(result["backtest_id"]))
    print_figures(stored)
    write_reports(stored, html=html, png=png)


def read_parameters(text: str) -> dict[str, float]:
    """Numbers by name out of "fast=10 slow=50"."""
    found: dict[str, float] = {}
    for part in text.replace(",", " ").split():
        name, sign, value = part.partition("=")
        try:
            number = float(value) if sign and name else math.nan
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise InvalidInput(f"not a parameter: {part}; write name=number, such as fast=10")
        found[name] = number
    return found
