"""The paths of a walk-forward over combinatorial splits, as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from app.commands.console import out, print_rows

_BINS, _WIDTH, _MOST_ROWS = 12, 40, 40


def print_paths(result: Mapping[str, Any]) -> None:
    """Figures of each path, how their Sharpe ratios are spread, and how often the choice was the wrong one."""
    found = result["combinatorial"]
    paths, spread = found["paths"], found["distribution"]
    print_rows(
        {
            "path": row["path"] + 1,
            "sharpe": _number(row["sharpe_ratio"]),
            "return": f"{100 * row['total_return']:.1f} %",
            "drawdown": f"{100 * row['max_drawdown']:.1f} %",
            "trades": row["trades"],
        }
        for row in paths[:_MOST_ROWS]
    )
    if len(paths) > _MOST_ROWS:
        out.print(f"and {len(paths) - _MOST_ROWS} more")
    for line in histogram([row["sharpe_ratio"] or 0.0 for row in paths]):
        out.print(line, highlight=False)
    out.print(
        f"{len(found['splits'])} splits of {len(found['groups'])} groups, {found['tested']} tested, make {len(paths)} paths: "
        f"Sharpe ratio {spread['median']:.2f} in the middle, {spread['percentile_5']:.2f} to {spread['percentile_95']:.2f} for "
        f"nine in ten; {spread['below_zero']:.0%} of the paths lie below zero.",
        soft_wrap=True,
    )
    seen = [(row["sharpe_in_sample"], row["sharpe_out_of_sample"]) for row in found["splits"] if "values" in row]
    if seen:
        inside, outside = np.mean(seen, axis=0)
        out.print(f"Mean Sharpe ratio of the splits: {inside:.2f} where they chose, {outside:.2f} where they are judged.")
    judged = found["overfitting"]
    if judged is not None:
        out.print(
            f"Probability of overfitting {judged['probability']:.2f}: how often what was chosen ranks in the lower half of all "
            f"sets where it is judged; it loses there in {judged['loss']:.0%} of {judged['splits']} splits.",
            soft_wrap=True,
        )
    out.print(
        f"{result['trials']['counted_on_these_bars']} configurations have been tried on these bars by now. What is chosen on "
        "one side of a tested group may know what came after it: these paths tell luck, not what was to be earned.",
        soft_wrap=True,
    )


def histogram(values: Sequence[float], *, bins: int = _BINS, width: int = _WIDTH) -> list[str]:
    """A line for each bin, from the lowest; a bar of the full width is the bin with the most values."""
    counts, edges = np.histogram(values, bins=min(bins, max(1, len(set(values)))))
    top = int(counts.max())
    return [
        f"{low:7.2f} to {high:5.2f} {'█' * round(width * int(count) / top)} {count}"
        for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True)
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
