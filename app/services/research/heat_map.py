"""The heat maps of a sweep: each figure of the train part over two parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.backtest.compiled.evaluation import Figures
from app.domain.errors import InvalidInput
from app.services.research.request import SweepRequest

FIGURES = ("sharpe", "total_return", "max_drawdown", "win_rate", "trades")
_DIGITS = 6  # that are kept of a figure


def axes_of(request: SweepRequest) -> tuple[str, ...]:
    """The one or two parameters of the heat map. Raises InvalidInput for axes that are not varied."""
    if request.axes is None:
        return tuple(request.grid)[:2]
    unknown = [name for name in request.axes if name not in request.grid]
    if unknown or request.axes[0] == request.axes[1]:
        raise InvalidInput(f"axes must be two different parameters of the grid: {', '.join(request.grid)}")
    return request.axes


def heat_map(tried: Sequence[tuple[Mapping[str, float], Figures]], axes: Sequence[str]) -> dict[str, Any]:
    """Figures over one or two parameters, as plain JSON values. tried: complete sets.

    Where further parameters were varied (`best_over`), a cell tells of the set with the best Sharpe ratio among those that
    have its two values; of sets that never traded only where no other did. figures: by name a row for each value of y, a
    column for each of x; None where a combination was not tried. With one axis y is None and there is one row.
    """
    x, y = axes[0], axes[1] if len(axes) > 1 else None
    cells: dict[tuple[float, float | None], Figures] = {}
    for values, found in tried:
        at = values[x], values[y] if y else None
        if at not in cells or _rank(found) > _rank(cells[at]):
            cells[at] = found
    x_values = sorted({at for at, _ in cells})
    y_values = sorted({values[y] for values, _ in tried}) if y else [None]
    first = tried[0][0]
    return {
        "x": x,
        "x_values": x_values,
        "y": y,
        "y_values": y_values,
        "best_over": [name for name in first if name not in axes and any(v[name] != first[name] for v, _ in tried)],
        "figures": {name: [[_figure(cells, (i, j), name) for i in x_values] for j in y_values] for name in FIGURES},
    }


def _rank(found: Figures) -> tuple[bool, float]:
    return found.trades > 0, found.sharpe


def _figure(cells: Mapping[tuple[float, float | None], Figures], at: tuple[float, float | None], name: str) -> float | None:
    found = cells.get(at)
    value = None if found is None else getattr(found, name)
    return None if value is None else float(f"{value:.{_DIGITS}g}")
