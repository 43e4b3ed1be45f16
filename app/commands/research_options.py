"""The options that a sweep, a search and a walk-forward share, said once; and how grids are read."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, get_type_hints

import typer

from app.commands.arguments import Symbols, read_date, read_symbols
from app.domain.errors import InvalidInput
from app.engine.costs import BORROW_RATE

_MOST_VALUES = 1000  # of a parameter

Grid = Annotated[
    str,
    typer.Option(
        "--grid", help='Values to try: "fast=5,10,20 slow=50:200:25" (from:to:step, both ends). Every combination is tried.'
    ),
]
Bps = typer.Option(min=0, max=1000, help="Hundredths of a percent of the value.")
Top = Annotated[int, typer.Option(min=1, max=100, help="How many of the best go on to the validation bars.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What every kind of run is asked with. Each field is an option of that name."""

    held: Annotated[
        str, typer.Option("--set", help='Parameters held fixed: "fast=10 slow=50". The others are at their defaults.')
    ] = ""
    data: Annotated[str | None, typer.Option(help="Bars from a Parquet or CSV file instead of the stored ones.")] = None
    symbols: Symbols = None
    timeframe: Annotated[str, typer.Option(help="1Min, 5Min, 15Min, 30Min, 1Hour or 1Day.")] = "1Day"
    start: Annotated[str | None, typer.Option(metavar="DATE", help="First day of the bars.")] = None
    end: Annotated[str | None, typer.Option(metavar="DATE", help="Last day of the bars.")] = None
    capital: Annotated[float, typer.Option(help="Money to begin with.")] = 100_000.0
    slippage_bps: Annotated[float, Bps] = 2.0
    commission_bps: Annotated[float, Bps] = 0.0
    commission_per_share: Annotated[float, typer.Option(min=0, max=100, help="Of each share.")] = 0.0
    minimum_commission: Annotated[float, typer.Option(min=0, max=100, help="Of each execution.")] = 0.0

    def request(self) -> dict[str, Any]:
        """As fields of a `ResearchRequest`."""
        fixed = read_grid(self.held)
        several = [name for name, values in fixed.items() if len(values) != 1]
        if several:
            raise InvalidInput(f"{', '.join(several)}: --set holds one value each; vary it by --grid")
        asked = asdict(self)
        asked.pop("held")
        return asked | {
            "values": {name: values[0] for name, values in fixed.items()},
            "symbols": list(read_symbols(self.symbols) or ()),
            "start": read_date(self.start),
            "end": read_date(self.end),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Traded:
    """Which way a kernel that looks at one instrument trades. Each field is an option of that name."""

    sides: Annotated[
        str, typer.Option(help="long; or both, which sells short too. The account that trades is long only: for study alone.")
    ] = "long"
    borrow_rate: Annotated[float, typer.Option(min=0, max=10, help="A year, of the value sold short.")] = BORROW_RATE


def with_options(**groups: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command whose parameters of these names are dataclasses: each of their fields becomes an option of the command."""

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        signature, own = inspect.signature(command), get_type_hints(command, include_extras=True)
        listed = [
            parameter.replace(annotation=own[name]) for name, parameter in signature.parameters.items() if name not in groups
        ]
        for group in groups.values():
            hints = get_type_hints(group, include_extras=True)
            listed += [
                inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=hints[one.name])
                for one in fields(group)
            ]

        @functools.wraps(command)
        def called(**given: Any) -> None:
            made = {name: kind(**{one.name: given.pop(one.name) for one in fields(kind)}) for name, kind in groups.items()}
            command(**given, **made)

        keyword = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in listed]
        called.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
        called.__annotations__ = {parameter.name: parameter.annotation for parameter in keyword}
        return called

    return decorated


def read_grid(text: str, *, ranges_only: bool = False) -> dict[str, list[float]]:
    """ "fast=5,10 slow=50:200:25" as values by name. ranges_only: "low:high", without a step."""
    found: dict[str, list[float]] = {}
    for part in text.split():
        name, equals, said = part.partition("=")
        try:
            if not (name and equals and said):
                raise ValueError
            values = _numbers(said, ranges_only=ranges_only)
        except ValueError:
            wanted = "low:high" if ranges_only else "1,2,3 or 10:50:5"
            raise InvalidInput(f"{part}: write NAME={wanted}, names apart by spaces") from None
        if name in found:
            raise InvalidInput(f"{name} is given twice; give all its values in one place")
        found[name] = values
    return found


def _numbers(said: str, *, ranges_only: bool) -> list[float]:
    parts = [float(one) for one in said.split(":")] if ":" in said else []
    if ranges_only:
        low, high = parts
        return [low, high]
    if not parts:
        found = [float(one) for one in said.split(",") if one]
        if not found:
            raise ValueError
        return found
    low, high, step = parts
    if not (step > 0 and low <= high < low + _MOST_VALUES * step):  # NaN lands here too
        raise ValueError
    count = math.floor((high - low) / step + 1e-9) + 1
    return [round(low + i * step, 12) for i in range(count)]
