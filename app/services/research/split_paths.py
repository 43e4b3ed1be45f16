"""Groups of bars, the splits that test them, and the paths through them; see `.combinatorial`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np

from app.backtest.compiled.evaluation import observed
from app.backtest.outcome import Outcome, figures
from app.backtest.statistics.overfitting import Overfitting
from app.backtest.walk_forward import Taped
from app.domain.errors import InvalidInput
from app.learning.splits import Split, backtest_paths, combinatorial_purged, group_edges
from app.risk.limits import Policy, RiskLimits
from app.services.research.bench import Span, first_judged
from app.services.research.runs import Plain, Progress
from app.services.research.windows import Windows

_POINTS = 250
_TOLD = ("sharpe_ratio", "total_return", "annualized_return", "volatility", "max_drawdown", "trades")


class Groups:
    """The groups of a request, its splits and its paths, by numbers of the panel's bars."""

    def __init__(self, made: Windows) -> None:
        asked, panel = made.asked, made.panel
        judged = first_judged(panel, asked)
        # What a decision on a bar comes to is known with the bar after it, and the last bar decides on nothing.
        bars = np.arange(judged, len(panel) - 1)
        self.splits: list[Split] = combinatorial_purged(
            bars, bars + 1, groups=asked.groups, tested=asked.tested, embargo_seconds=asked.embargo_bars
        )
        edges = [judged + int(edge) for edge in group_edges(len(bars), asked.groups)]
        self.edges = edges
        self.spans = [Span(start=edges[i], stop=edges[i + 1]) for i in range(asked.groups)]
        self.judged = Span(start=edges[0], stop=edges[-1])
        self.paths = backtest_paths(asked.groups, asked.tested)
        short = [span for span in self.spans if len(observed(panel, span.start, span.stop)) < 2]
        if short:
            raise InvalidInput("a group is too short to judge anything by: choose fewer groups, or more bars")

    def training(self, number: int) -> list[Span]:
        """The bars that a split chooses on, in runs without a gap."""
        rows = self.splits[number].train + self.judged.start
        parts = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
        return [Span(start=int(part[0]), stop=int(part[-1]) + 1) for part in parts]


def traded(
    made: Windows,
    groups: Groups,
    path: Callable[[int], Taped],
    limits: RiskLimits,
    policy: Policy,
    progress: Progress,
) -> Iterator[Outcome]:
    """The account along each path. path: what is said along it."""
    account = made.account(groups.judged.start, limits, policy)
    for number in range(len(groups.paths)):
        found = account.trade(path(number), lambda _done, _total, _what: None)
        yield account.outcome(found)
        progress(number + 1, len(groups.paths), "paths")


def told_paths(
    made: Windows,
    groups: Groups,
    outcomes: Sequence[Outcome],
    splits: Sequence[Plain],
    overfitting: Overfitting | None,
    more: Plain,
) -> dict[str, Any]:
    """As plain JSON values. Money in account currency; a path that never traded has a Sharpe ratio of None."""
    asked, known_at = made.asked, made.panel.known_at
    shown = np.unique(np.linspace(0, len(outcomes[0].instants) - 1, _POINTS).round().astype(int))
    rows = [{"path": i} | {name: figures(one)[name] for name in _TOLD} for i, one in enumerate(outcomes)]
    return {
        "strategy": asked.strategy,
        "dataset": made.panel.digest(),
        "trials": {"counted_on_these_bars": made.bench.counted(made.panel)},
        "combinatorial": {
            "groups": [
                {"start": _instant(known_at[s.start]), "end": _instant(known_at[s.stop]), "bars": s.stop - s.start}
                for s in groups.spans
            ],
            "tested": asked.tested,
            "splits": list(splits),
            "paths": [row | {"splits": groups.paths[i].tolist()} for i, row in enumerate(rows)],
            "distribution": _distribution(outcomes),
            "overfitting": None if overfitting is None else asdict(overfitting),
            "equity": {
                "at": [_instant(at) for at in outcomes[0].instants[shown]],
                "paths": [[round(float(value), 2) for value in one.curve[shown]] for one in outcomes],
            },
        },
        "assumptions": made.assumptions()
        | {
            "windows": f"{asked.groups} groups of bars, every choice of {asked.tested} of them judged by what was chosen on "
            f"the others: {len(groups.splits)} splits, {len(groups.paths)} paths; {asked.embargo_bars} bars left out between",
            "order": "what was chosen may know what came later: the paths tell luck, not what was to be earned",
            **more,
        },
    }


def _distribution(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Of the paths' Sharpe ratios, a year; a path that never moved counts as 0."""
    ratios = np.array([sharpe_of(one) for one in outcomes])
    low, middle, high = (float(value) for value in np.quantile(ratios, (0.05, 0.5, 0.95)))
    return {
        "mean": float(ratios.mean()),
        "deviation": float(ratios.std(ddof=1)) if len(ratios) > 1 else 0.0,
        "percentile_5": low,
        "median": middle,
        "percentile_95": high,
        "below_zero": float((ratios < 0.0).mean()),
    }


def sharpe_of(outcome: Outcome) -> float:
    """Of a year; 0 for an account that never moved."""
    return float(figures(outcome)["sharpe_ratio"] or 0.0)


def _instant(second: int) -> str:
    return datetime.fromtimestamp(int(second), UTC).isoformat()
