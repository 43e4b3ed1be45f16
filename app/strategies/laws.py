"""The laws every strategy keeps, tried on a panel: its past does not change when bars follow, and it remembers no more than it
declares. Whoever breaks one does in a backtest what it cannot do live."""

from __future__ import annotations

from typing import Any

import numpy as np

from app.domain.bar import Floats
from app.domain.panel import Panel
from app.strategies.strategy import Strategy, Values, evaluated

_TRIES = 40  # places at which the memory is tried
_FIRST = 1_704_119_400  # 2024-01-01 14:30 UTC


def random_panel(symbols: int, bars: int, *, seed: int = 1, step: int = 300, deviation: float = 0.01) -> Panel:
    """Prices that walk at random, in cents, without gaps. step: seconds a bar. deviation: of the returns, a fraction."""
    draw = np.random.default_rng(seed)
    close: Any = 100.0 * np.cumprod(1.0 + draw.normal(0.0, deviation, (symbols, bars)), axis=1)
    opened = np.concatenate([np.full((symbols, 1), 100.0), close[:, :-1]], axis=1)
    spread = 1.0 + np.abs(draw.normal(0.0, deviation / 3, (2, symbols, bars)))
    timestamp = _FIRST + np.arange(bars, dtype=np.int64) * step
    return Panel(
        symbols=tuple(f"S{number}" for number in range(symbols)),
        timeframe="5Min",
        timestamp=timestamp,
        known_at=timestamp + step,
        open=opened.round(2),
        high=(np.maximum(opened, close) * spread[0]).round(2),
        low=(np.minimum(opened, close) / spread[1]).round(2),
        close=close.round(2),
        volume=np.round(1e5 * np.exp(draw.normal(0.0, 0.5, (symbols, bars)))),
    )


def broken_laws(strategy: Strategy, values: Values, panel: Panel | None = None) -> tuple[str, ...]:
    """One sentence for each law that `strategy` breaks, none when it is sound. panel: by default a random one that is somewhat
    longer than its memory. Raises InvalidInput for answers that are no score at all."""
    memory = strategy.memory(values)
    panel = random_panel(2, memory + 120) if panel is None else panel
    columns, score = evaluated(strategy, panel, values)
    faults = [
        f"{strategy.name} looks ahead: {name} of a bar changes when later bars are known"
        for name in _changed(strategy, values, panel, {**columns, "the score": score})
    ]
    for stop in np.unique(np.linspace(memory, len(panel), _TRIES, dtype=int)).tolist() if memory <= len(panel) else ():
        _, recent = evaluated(strategy, panel.slice(0, stop).last(memory), values)
        if not np.array_equal(recent[:, -1], score[:, stop - 1], equal_nan=True):
            faults.append(f"{strategy.name} remembers more than its {memory} bars: they do not give its score")
            break
    return tuple(faults)


def _changed(strategy: Strategy, values: Values, panel: Panel, whole: dict[str, Floats]) -> list[str]:
    """Names of what the first bars alone do not give as all bars give it there."""
    total, found = len(panel), dict[str, None]()
    for stop in sorted({1, 2, total // 3, total // 2, total - 7, total - 1} & set(range(1, total))):
        columns, score = evaluated(strategy, panel.slice(0, stop), values)
        for name, part in {**columns, "the score": score}.items():
            if name not in whole or not np.array_equal(part, whole[name][:, :stop], equal_nan=True):
                found[name] = None
    return list(found)
