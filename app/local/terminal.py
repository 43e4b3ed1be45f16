"""What a person sees of an installation: steps of its start, one line per cycle, progress of long work, a summary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

_NEW_YORK = ZoneInfo("America/New_York")
_STYLES = {"completed": "green", "market_closed": "dim", "missed": "bold red", "failed": "red", "abandoned": "red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleLine:
    """One finished cycle. equity: account currency, None when unknown. seconds: from the move of the clock to its end."""

    at: datetime
    outcome: str
    detail: str
    equity: Decimal | None
    positions: int
    orders: int
    fills: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What a run has done. reasons: decisions by reason code, most frequent first."""

    ended: str
    outcomes: dict[str, int]
    orders: int
    fills: int
    start_equity: Decimal | None
    end_equity: Decimal | None
    positions: int
    reasons: list[tuple[str, int]]
    simulated: bool


class Terminal:
    """The one place that prints."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(escape(text), soft_wrap=True)

    def warn(self, text: str) -> None:
        """One line that should be seen."""
        self._console.print(f"[yellow]{escape(text)}[/]", soft_wrap=True)

    def step(self, name: str, detail: str) -> None:
        """One step of the start is done."""
        self._console.print(f"  [green]ready[/]  {escape(name):<16} [dim]{escape(detail)}[/]", soft_wrap=True)

    def cycle(self, line: CycleLine) -> None:
        """One cycle."""
        style = _STYLES.get(line.outcome, "yellow")
        detail = f"  [dim]{escape(line.detail[:80])}[/]" if line.detail and line.outcome != "completed" else ""
        self._console.print(
            f"{new_york(line.at)}  [{style}]{escape(line.outcome):<13}[/] equity {money(line.equity):>14}  "
            f"positions {line.positions:>2}  orders {line.orders:>2}  fills {line.fills:>2}  {line.seconds:5.2f} s{detail}",
            soft_wrap=True,
        )

    def closed(self, at: datetime, equity: Decimal | None) -> None:
        """A session is over."""
        self._console.print(f"[dim]{new_york(at)}  session closed  equity {money(equity):>14}[/]", soft_wrap=True)

    @contextmanager
    def progress(self, title: str) -> Iterator[ProgressLine]:
        """A bar for long work."""
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[now]}"),
        )
        with Progress(*columns, console=self._console, transient=False) as bar:
            yield ProgressLine(bar, bar.add_task(title, total=None, now=""))

    def summary(self, summary: RunSummary) -> None:
        """The table at the end."""
        table = Table(title="SIMULATED run" if summary.simulated else "Run", title_justify="left", show_header=False)
        table.add_column(style="dim")
        table.add_column()
        table.add_row("ended", summary.ended)
        table.add_row("cycles", ", ".join(f"{count} {outcome}" for outcome, count in summary.outcomes.items()) or "none")
        table.add_row("orders sent", str(summary.orders))
        table.add_row("fills", str(summary.fills))
        table.add_row("equity", f"{money(summary.start_equity)} -> {money(summary.end_equity)}{_change(summary)}")
        table.add_row("positions", str(summary.positions))
        for index, (reason, count) in enumerate(summary.reasons):
            table.add_row("decisions" if index == 0 else "", f"{count:>6} {reason}")
        self._console.print(table)


@dataclass(frozen=True, slots=True)
class ProgressLine:
    """The bar of one piece of work."""

    bar: Progress
    task: TaskID

    def show(self, done: int, total: int, message: str) -> None:
        """How far the work is."""
        self.bar.update(self.task, completed=done, total=total or None, now=message[:60])


def new_york(at: datetime) -> str:
    """An instant as New York reads it."""
    return f"{at.astimezone(_NEW_YORK):%a %Y-%m-%d %H:%M}"


def money(amount: Decimal | None) -> str:
    """An amount in account currency."""
    return "unknown" if amount is None else f"{amount:,.2f}"


def _change(summary: RunSummary) -> str:
    if not summary.start_equity or summary.end_equity is None:
        return ""
    return f" ({summary.end_equity / summary.start_equity - 1:+.2%})"
