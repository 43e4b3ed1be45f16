"""`trader simulator`: the simulated exchange alone."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from app.commands.arguments import Start, Symbols, read_amount, read_date, read_symbols
from app.commands.console import out
from app.domain.errors import InvalidInput

Speed = Annotated[
    str, typer.Option(metavar="N|follow", help="Simulated seconds per second, or as fast as the clients of its streams read.")
]
HELP = """Run the simulated exchange alone: an Alpaca without an account, for any Alpaca client.

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
        start=read_date(start),
        actions=actions,
        prices=prices,
        news=news,
        extended_hours=extended_hours,
        speed=read_speed(speed),
        seed=seed,
        symbols=read_symbols(symbols) or (),
        cash=read_amount(cash) or Decimal(100_000),
        state_file=state,
        skip_closed=skip_closed,
        multiplier=multiplier,
        costs=_costs(cost or []),
        cancel_seconds=cancel_seconds,
        participation=read_amount(participation),
        partial_probability=read_amount(partial_probability) or Decimal(0),
        keys=tuple(_key(pair) for pair in key or ()),
        keys_required=keys_required,
        rate_limit=rate_limit,
    )
    if check:
        out.print(escape(check_market(options)), soft_wrap=True)
    else:
        serve(options)


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
