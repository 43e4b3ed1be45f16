"""Generated daily markets: some without any edge, some with one that moving averages can catch."""

from __future__ import annotations

import numpy as np

from app.domain.panel import Panel

YEARS = 5
SESSIONS = 252 * YEARS
VOLATILITY = 0.01  # of a session
NIGHT = 0.25  # part of a session's variance that falls between close and open
WITHOUT_EDGE = ("fair walk", "fat tails", "volatility clusters")
LASTING = 8.0  # sessions


def prices(moves: np.ndarray, drift: np.ndarray | float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(open, close), each of shape (n_bars,). moves: standardised returns of the sessions; drift: of each, logarithmic."""
    night = np.sqrt(NIGHT) * VOLATILITY * generator.standard_normal(len(moves))
    day = np.sqrt(1 - NIGHT) * VOLATILITY * moves
    closes = np.cumsum(night + day + drift)
    return 100 * np.exp(closes - day - (1 - NIGHT) * drift), 100 * np.exp(closes)


def without_edge(kind: str, generator: np.random.Generator, sessions: int = SESSIONS) -> tuple[np.ndarray, np.ndarray]:
    """A market whose next return nobody can know, but for the drift of "rising": half of its volatility in a year."""
    moves = generator.standard_normal(sessions)
    if kind == "fat tails":
        moves = generator.standard_t(3, sessions) / np.sqrt(3)
    elif kind == "volatility clusters":
        moves *= clusters(generator, sessions)
    # The expected simple return is zero, as that of a fair game.
    drift = -0.5 * VOLATILITY**2
    return prices(moves, drift + (0.5 * VOLATILITY / np.sqrt(252) if kind == "rising" else 0.0), generator)


def clusters(generator: np.random.Generator, sessions: int) -> np.ndarray:
    """Deviations of a GARCH(1,1) process around one, persistence 0.98."""
    deviation, variance = np.empty(sessions), 1.0
    for i in range(sessions):
        deviation[i] = np.sqrt(variance)
        variance = 0.02 + 0.1 * variance * generator.standard_normal() ** 2 + 0.88 * variance
    return deviation


def with_edge(drift: float, generator: np.random.Generator, sessions: int = SESSIONS) -> tuple[np.ndarray, np.ndarray]:
    """A market that rises by `drift` a session for a while and falls by it for another: each lasts LASTING sessions in the
    mean, nobody sees which it is, and holding it always earns nothing."""
    switches = generator.random(sessions) < 1 / LASTING
    state = np.where((np.cumsum(switches) + generator.integers(2)) % 2 == 0, 1.0, -1.0)
    return prices(generator.standard_normal(sessions), drift * state - 0.5 * VOLATILITY**2, generator)


def panel_of(opens: np.ndarray, closes: np.ndarray) -> Panel:
    """Daily bars of one symbol; weekends are left out of the calendar here."""
    stamps = np.arange(len(opens), dtype=np.int64) * 86_400
    high, low = np.maximum(opens, closes) * 1.001, np.minimum(opens, closes) * 0.999
    rows = {name: values[None, :] for name, values in (("open", opens), ("high", high), ("low", low), ("close", closes))}
    volume = np.full((1, len(opens)), 1e9)
    return Panel(symbols=("FAIR",), timeframe="1Day", timestamp=stamps, known_at=stamps + 75_600, volume=volume, **rows)
