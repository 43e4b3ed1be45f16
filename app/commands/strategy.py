"""`trader strategy`: what there is to trade by, and a beginning for one's own."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from app.commands.console import chosen_settings, out, print_rows
from app.services.strategies.strategy_service import StrategyService
from app.strategies.catalog import CATALOG, MODEL_DRIVEN, MODEL_DRIVEN_DOC
from app.strategies.forecasts import Hybrid
from app.strategies.strategy import checked

strategy = typer.Typer(name="strategy", help="Strategies: list, describe, write one's own.", no_args_is_help=True)


@strategy.command("list")
def list_all() -> None:
    """Every strategy: the main job, those of the catalog, and one's own in STRATEGIES_DIR."""
    chosen = chosen_settings()
    rows = [(MODEL_DRIVEN, "models", MODEL_DRIVEN_DOC)]
    rows += [(one.name, "models and rules" if isinstance(one, Hybrid) else "rules", one.doc) for one in CATALOG.values()]
    rows += [(name, "own", f"{chosen.strategies_dir / name}.py") for name in StrategyService(chosen.strategies_dir).own()]
    print_rows(
        {"strategy": name, "kind": kind, "what it does": doc, "live": "yes" if name == chosen.strategy else ""}
        for name, kind, doc in rows
    )


@strategy.command(epilog="Example: trader strategy show sma_cross")
def show(name: str) -> None:
    """What a strategy does, its parameters, exits and memory."""
    if name == MODEL_DRIVEN:
        out.print(f"[bold]{MODEL_DRIVEN}[/]: {MODEL_DRIVEN_DOC}", soft_wrap=True)
        out.print("Its settings: AI_SIGNAL_BUY_THRESHOLD, AI_SIGNAL_SELL_THRESHOLD, AI_CONFIDENCE_THRESHOLD", soft_wrap=True)
        return
    found = StrategyService(chosen_settings().strategies_dir).find(name)
    values = checked(found, {})
    out.print(f"[bold]{escape(found.name)}[/]: {escape(found.doc)}", soft_wrap=True)
    print_rows(
        {
            "parameter": parameter.name,
            "default": f"{parameter.default:g}",
            "from": f"{parameter.low:g}",
            "to": f"{parameter.high:g}",
            "less than": parameter.below or "",
            "what it is": parameter.doc,
        }
        for parameter in found.parameters
    )
    out.print(f"with these it acts from a score of {found.threshold(values):g} and needs {found.memory(values)} bars")
    exits = ", ".join(f"{key} {value:g}" for key, value in found.exits._asdict().items() if value)
    out.print(f"exits: {exits}", soft_wrap=True)
    out.print(f"live: STRATEGY={escape(found.name)} STRATEGY_PARAMETERS='{{...}}' STRATEGY_TIMEFRAME=1Day", soft_wrap=True)


@strategy.command(epilog="Example: trader strategy new my_idea   |   trader strategy new my_idea --class")
def new(
    name: str,
    as_class: Annotated[bool, typer.Option("--class", help="A plain class with on_bar instead of columns.")] = False,
) -> None:
    """Write a working strategy and its test into STRATEGIES_DIR."""
    path, test = StrategyService(chosen_settings().strategies_dir).create(name, as_class=as_class)
    out.print(f"wrote {path} and {test}", soft_wrap=True)
    out.print(f"try it: pytest {test}   |   trader strategy show {name}", soft_wrap=True)
