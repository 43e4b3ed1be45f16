"""What the stored bars and the forecaster say now of what a decision saw."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from app.domain.bar import BarSeries
from app.domain.forecast import Forecaster, SleeveAnswers
from app.engine.decision import MarketView
from app.engine.view import daily_atr, daily_volatility, usual_daily_volatility

_CLOSE = 1e-9  # relative; stored and recorded numbers went through the same arithmetic
_MINUTE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What is known now. daily, minutes: bars by symbol. judged: those that the forecaster judges by. forecaster: None where
    forecasts are taken as recorded."""

    daily: Mapping[str, BarSeries]
    minutes: Mapping[str, BarSeries]
    judged: Mapping[str, BarSeries]
    forecaster: Forecaster | None = None


class StoredMarket:
    """What the stored bars say now, by symbol and number of known bars: within a session the completed days do not change."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._known: dict[tuple[str, int], tuple[float, float, float, float]] = {}

    def view(self, recorded: MarketView) -> tuple[MarketView, list[tuple[str, str, float, float]]]:
        """The view with every number that the stored bars contradict replaced; and those numbers: symbol, name, recorded, now.

        A price is contradicted only by minutes that it lies outside of: a trade inside a minute is no bar of its own.
        """
        arrays = {"price": recorded.price.copy(), "volatility": recorded.volatility.copy()}
        for name in ("last_close", "usual_volatility", "atr"):
            values = getattr(recorded, name)
            arrays |= {} if values is None else {name: values.copy()}
        changed = []
        for i, symbol in enumerate(recorded.symbols):
            for name, now in self._numbers(symbol, recorded, i).items():
                if name in arrays and not is_same(float(arrays[name][i]), now):
                    changed.append((symbol, name, float(arrays[name][i]), now))
                    arrays[name][i] = now
        made: dict[str, Any] = dict(arrays)
        return (replace(recorded, **made) if changed else recorded), changed

    def forecasts(self, view: MarketView) -> tuple[dict[str, Any], int]:
        """The forecasts that are others when they are made anew; and how many cannot be, as another model is in use now."""
        if self._stored.forecaster is None:
            return {}, 0
        known = {s: self._stored.judged[s].known_by(view.decided_at) for s in view.forecasts if s in self._stored.judged}
        others, unjudged = {}, 0
        for symbol, fresh in self._stored.forecaster.forecast(known, view.decided_at).items():
            recorded: Any = view.forecasts[symbol]
            again, before = parts_of(fresh), parts_of(recorded)
            if again.keys() != before.keys() or not all(_is_comparable(again[name], before[name]) for name in again):
                unjudged += 1
            elif not all(_says_the_same(again[name], before[name]) for name in again):
                others[symbol] = fresh
        return others, unjudged

    def _numbers(self, symbol: str, view: MarketView, i: int) -> dict[str, float]:
        found: dict[str, float] = {}
        daily = self._stored.daily.get(symbol)
        if daily is not None:
            known = daily.known_by(view.decided_at)
            key = (symbol, len(known))
            if key not in self._known and len(known):
                self._known[key] = (
                    float(known.close[-1]),
                    daily_volatility(known),
                    usual_daily_volatility(known),
                    daily_atr(known),
                )
            if key in self._known:
                found = dict(zip(("last_close", "volatility", "usual_volatility", "atr"), self._known[key], strict=True))
        price = self._price(symbol, view, i)
        return found if price is None else found | {"price": price}

    def _price(self, symbol: str, view: MarketView, i: int) -> float | None:
        """The recorded price where the minutes around its trade do not contradict it, else the last close; None: unknown."""
        minutes = self._stored.minutes.get(symbol)
        price, age = float(view.price[i]), float(view.age_seconds[i])
        if minutes is None or not math.isfinite(price) or not math.isfinite(age):
            return None
        now = view.decided_at.timestamp()
        around = (minutes.timestamp > now - age - 2 * _MINUTE) & (minutes.timestamp <= now)
        if not around.any():
            return None
        if np.min(minutes.low[around]) <= price <= np.max(minutes.high[around]):
            return price
        complete = np.flatnonzero(around & (minutes.known_at <= now))
        return float(minutes.close[complete[-1]]) if len(complete) else None


def number_of(forecast: Any) -> float:
    """What a forecast or a score says; NaN for none."""
    return float(getattr(forecast, "daily_return", getattr(forecast, "score", math.nan)))


def certainty_of(forecast: Any) -> float:
    """The confidence of a forecast; NaN where it has none."""
    return float(getattr(forecast, "confidence", math.nan))


def parts_of(answer: Any) -> Mapping[str, Any]:
    """What each strategy of a shared account says, by its name; of any other account the one answer, under no name."""
    return answer.by_strategy if isinstance(answer, SleeveAnswers) else {"": answer}


def _is_comparable(fresh: Any, recorded: Any) -> bool:
    return type(fresh) is type(recorded) and _maker(fresh) == _maker(recorded)


def _says_the_same(fresh: Any, recorded: Any) -> bool:
    return is_same(number_of(fresh), number_of(recorded)) and is_same(certainty_of(fresh), certainty_of(recorded))


def _maker(forecast: Any) -> object:
    """Which model, strategy or refusal it is; answers of different makers are not compared."""
    return getattr(forecast, "model", getattr(forecast, "source", getattr(forecast, "code", None)))


def is_same(one: float | None, other: float | None) -> bool:
    """Unknown is unknown, however it is told."""
    a, b = math.nan if one is None else one, math.nan if other is None else other
    return a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=_CLOSE, abs_tol=0.0)
