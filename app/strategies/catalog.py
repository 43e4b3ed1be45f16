"""The strategies of the product, by name."""

from __future__ import annotations

from difflib import get_close_matches

from app.domain.errors import NotFound
from app.strategies.donchian_breakout import DonchianBreakout
from app.strategies.rsi import Rsi
from app.strategies.sma_cross import SmaCross
from app.strategies.strategy import Strategy
from app.strategies.swing import Swing

_STRATEGIES: tuple[Strategy, ...] = (
    Swing(),
    SmaCross(),
    Rsi(),
    DonchianBreakout(),
)
CATALOG: dict[str, Strategy] = {strategy.name: strategy for strategy in _STRATEGIES}


def find(name: str) -> Strategy:
    """The strategy of that name. Raises NotFound naming those near it."""
    if name in CATALOG:
        return CATALOG[name]
    near = get_close_matches(name, CATALOG, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(CATALOG)}"
    raise NotFound(f"no strategy is called {name!r}; {hint}", code="strategy_unknown")
