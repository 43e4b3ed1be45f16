"""`trader trials` and `trader verdict`: how often luck had a chance, what came of it, and a person's word against it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.markup import escape

from app.commands.console import actor, out, print_rows, services
from app.domain.errors import InvalidInput
from app.domain.trial import settings_key
from app.domain.verdict import Override, VerdictRecord
from app.services.strategies.shared_account import choose, is_shared
from app.services.strategies.strategy_service import StrategyService
from app.strategies.catalog import MODEL_DRIVEN
from app.strategies.strategy import checked

verdict = typer.Typer(name="verdict", help="PASS, WARN or FAIL for what was tested, with the reasons.", no_args_is_help=True)

Parameters = Annotated[
    str, typer.Option("--parameters", metavar="JSON", help='As in STRATEGY_PARAMETERS, such as \'{"fast": 10, "slow": 50}\'.')
]


def trials(
    dataset: Annotated[str | None, typer.Option(metavar="DIGEST", help="The beginning of a data set's digest.")] = None,
) -> None:
    """How many configurations were ever evaluated on each data set. Each one makes the best of them less of a surprise."""
    with services() as held:
        if dataset is None:
            print_rows(
                {
                    "data set": known.digest[:12],
                    "symbols": " ".join(known.symbols[:6])
                    + (f" and {len(known.symbols) - 6} more" if len(known.symbols) > 6 else ""),
                    "bars": known.timeframe,
                    "from": f"{known.start:%Y-%m-%d}",
                    "to": f"{known.end:%Y-%m-%d}",
                    "trials": number,
                }
                for known, number in held.trials.data_sets()
            )
            return
        found = held.trials.summary(dataset)
    known = found.data_set
    out.print(f"data set {known.digest[:12]}: {known.timeframe} bars of {' '.join(known.symbols)}", soft_wrap=True)
    out.print(f"from {known.start:%Y-%m-%d} to {known.end:%Y-%m-%d}; {found.data_sets} data sets overlap with it")
    out.print(f"trials: {found.trials}, as good as {found.effective_trials:.1f} independent ones")
    out.print(f"their Sharpe ratios per observation: mean {found.sharpe_mean:.4f}, deviation {found.sharpe_deviation:.4f}")


@verdict.command()
def show(backtest_id: str) -> None:
    """The verdict on a backtest with every check. Exit code 1 for FAIL."""
    with services() as held:
        found = held.verdicts.of_backtest(backtest_id)
    print_verdict(found)
    if found["level"] == "FAIL":
        raise typer.Exit(1)


@verdict.command(name="list")
def listing(limit: Annotated[int, typer.Option(min=1, max=1000)] = 20) -> None:
    """The newest verdicts."""
    with services() as held:
        found = held.verdicts.newest(limit)
        overrides = {_key(one): held.verdicts.override_in_force(one.judged.strategy, one.judged.values) for one in found}
    print_rows(
        {
            "at": f"{one.at:%Y-%m-%d %H:%M}",
            "strategy": one.judged.strategy,
            "parameters": _told(dict(one.judged.values)),
            "verdict": one.judged.verdict.level.value,
            "trials": one.judged.trials,
            "backtest": one.backtest_id or "",
            "overridden": _decided(overrides[_key(one)]),
        }
        for one in found
    )


@verdict.command(
    epilog='Example: trader verdict override sma_cross --parameters \'{"fast": 10, "slow": 50}\' --reason "small test"'
)
def override(
    strategy: str,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; kept for ever, in the audit log too.")],
    parameters: Parameters = "{}",
    by: Annotated[str | None, typer.Option("--actor", help="Who decides; default: who is logged in.")] = None,
) -> None:
    """Let STRATEGY with these parameters trade real money against its newest verdict. It holds until the next verdict."""
    given = read_parameters(parameters)
    with services() as held:
        name, values = _complete(held.strategies, strategy, given)
        decided = held.verdicts.override(name, values, actor=by or actor(), reason=reason)
    out.print(
        f"recorded: {escape(name)} with {_told(values)} may trade real money until its next verdict; "
        f"{escape(_decided(decided))}",
        soft_wrap=True,
    )


def print_verdict(fields: dict[str, Any]) -> None:
    """A verdict in the form of `app.services.verdicts.verdict_service.verdict_fields`."""
    colour = {"PASS": "green", "WARN": "yellow", "FAIL": "red"}
    out.print(f"[bold {colour[fields['level']]}]{fields['level']}[/], {fields['trials']} trials counted")
    for check in fields["checks"]:
        out.print(
            f"  [{colour[check['level']]}]{check['level']}[/] {check['name']}: {escape(check['sentence'])}", soft_wrap=True
        )


def read_parameters(text: str) -> dict[str, float]:
    """Parameters by name. Raises InvalidInput for what is not a JSON object of numbers."""
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    if not isinstance(given, dict) or any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in given.values()):
        raise InvalidInput(f'not a JSON object of numbers: {text}; write it as {{"fast": 10, "slow": 50}}')
    return given


def _complete(strategies: StrategyService, name: str, given: dict[str, float]) -> tuple[str, dict[str, float]]:
    """A strategy, or several that share an account, with every parameter, as live trading names it."""
    if name == MODEL_DRIVEN:
        if given:
            raise InvalidInput(f"{name} has no parameters")
        return name, {}
    if is_shared(name):
        return choose(strategies, name, given).name, {}
    return name, checked(strategies.find(name), given)


def _key(record: VerdictRecord) -> str:
    return settings_key(record.judged.strategy, record.judged.values)


def _decided(override: Override | None) -> str:
    """Who, when and why."""
    return "" if override is None else f"by {override.actor} at {override.at:%Y-%m-%d %H:%M}: {override.reason}"


def _told(values: dict[str, float]) -> str:
    return ", ".join(f"{name}={value:g}" for name, value in values.items()) or "its defaults"
