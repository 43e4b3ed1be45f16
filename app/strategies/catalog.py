"""The strategies of the product, by name."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from app.domain.errors import NotFound
from app.strategies.blended_forecast import BlendedForecast
from app.strategies.bollinger_reversion import BollingerReversion
from app.strategies.confirmed_forecast import ConfirmedForecast
from app.strategies.cross_sectional_momentum import CrossSectionalMomentum
from app.strategies.donchian_breakout import DonchianBreakout
from app.strategies.macd import Macd
from app.strategies.rsi import Rsi
from app.strategies.sma_cross import SmaCross
from app.strategies.strategy import Strategy
from app.strategies.weighted_ensemble import MEMBERS, WeightedEnsemble

# The main job: the forecasts of the trained models go to the decision as they are. It is a `Forecaster`, not a rule on bars.
MODEL_DRIVEN = "ensemble"
MODEL_DRIVEN_DOC = "The main job: trades on the forecasts of the trained models, with the thresholds of the settings."

_STRATEGIES: tuple[Strategy, ...] = (
    *MEMBERS,
    WeightedEnsemble(),
    SmaCross(),
    Macd(),
    Rsi(),
    BollingerReversion(),
    DonchianBreakout(),
    CrossSectionalMomentum(),
    ConfirmedForecast(),
    BlendedForecast(),
)
CATALOG: dict[str, Strategy] = {strategy.name: strategy for strategy in _STRATEGIES}


def find(name: str, others: Sequence[str] = ()) -> Strategy:
    """The strategy of that name. Raises NotFound naming those near it. others: names that could have been meant as well."""
    if name in CATALOG:
        return CATALOG[name]
    if name == MODEL_DRIVEN:
        raise NotFound(f"{name} trades on the models' forecasts and has no rule on bars", code="strategy_unknown")
    known = [*CATALOG, *others]
    near = get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
    raise NotFound(f"no strategy is called {name!r}; {hint}", code="strategy_unknown")
