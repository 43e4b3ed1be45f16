"""The ensemble: three LightGBM and three XGBoost members, each on another span of the past and with another seed.

One thread a booster: on a thousand rows threads only spin, and one thread makes the same data and seed give the same
trees. Labels are divided by their own deviation and clipped at four of them, so that one crash day does not rule a tree
and the parameters mean the same for every symbol.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self

import numpy as np

from app.domain.bar import Floats
from app.domain.errors import InvalidInput
from app.learning.parameters import EnsembleParams

# (library, from, to): the part of the rows, in time order, that a member is fitted on, as fractions. The parts differ, so
# that members disagree where the past disagrees with itself, not only where their seeds do.
MemberSpan = tuple[str, float, float]
MEMBERS: tuple[MemberSpan, ...] = (
    ("lightgbm", 0.0, 0.5),
    ("lightgbm", 0.25, 0.75),
    ("lightgbm", 0.5, 1.0),
    ("xgboost", 0.0, 0.5),
    ("xgboost", 0.25, 0.75),
    ("xgboost", 0.5, 1.0),
)
_CLIP = 4.0
_BINS = 63


class Member(Protocol):
    """One fitted booster. scale: what its answers are multiplied with to be returns."""

    library: str
    scale: float

    def predict(self, features: Floats) -> Floats:
        """Forecast returns, fractions, shape (n_rows,), of features (n_rows, n_features)."""
        ...

    def payload(self) -> bytes:
        """The booster in its library's own format."""
        ...


class LightGbmMember:
    """A LightGBM booster; its payload is LightGBM's text format."""

    library = "lightgbm"

    def __init__(self, payload: bytes, scale: float) -> None:
        """Raises whatever the text is not; the payload must have been verified before."""
        from app.learning.trees import from_lightgbm

        self.scale = scale
        self._payload = payload
        self._trees = from_lightgbm(payload.decode("ascii"))

    @classmethod
    def fit(cls, features: Floats, label: Floats, scale: float, params: EnsembleParams, seed: int) -> Self:
        """Fit on features (n_rows, n_features) and scaled labels (n_rows,)."""
        import lightgbm

        settings = {
            "objective": "regression",
            "learning_rate": params.learning_rate,
            "num_leaves": params.leaves,
            "min_data_in_leaf": params.min_leaf_rows,
            "lambda_l2": params.l2,
            "feature_fraction": params.feature_fraction,
            "bagging_fraction": params.row_fraction,
            "bagging_freq": 1,
            "max_bin": _BINS,
            "seed": seed,
            "num_threads": 1,
            "force_col_wise": True,
            "deterministic": True,
            "verbosity": -1,
        }
        rows = lightgbm.Dataset(features, label=label, params=settings, free_raw_data=True)
        text: str = lightgbm.train(settings, rows, num_boost_round=params.rounds).model_to_string()
        return cls(text.encode("ascii"), scale)

    def predict(self, features: Floats) -> Floats:
        """Forecast returns, shape (n_rows,)."""
        return _walked(self._trees, features) * self.scale

    def payload(self) -> bytes:
        """LightGBM's text format."""
        return self._payload


class XgBoostMember:
    """An XGBoost booster; its payload is universal binary JSON."""

    library = "xgboost"

    def __init__(self, payload: bytes, scale: float) -> None:
        """Raises whatever XGBoost raises at what it cannot read; the payload must have been verified before."""
        import xgboost

        from app.learning.trees import from_xgboost

        booster = xgboost.Booster({"nthread": 1, "verbosity": 0})
        booster.load_model(bytearray(payload))
        self.scale = scale
        self._payload = payload
        self._trees = from_xgboost(bytes(booster.save_raw(raw_format="json")))

    @classmethod
    def fit(cls, features: Floats, label: Floats, scale: float, params: EnsembleParams, seed: int) -> Self:
        """Fit on features (n_rows, n_features) and scaled labels (n_rows,)."""
        import xgboost

        settings = {
            "objective": "reg:squarederror",
            "base_score": float(label.mean()),
            "tree_method": "hist",
            "grow_policy": "lossguide",
            "max_leaves": params.leaves,
            "max_depth": 0,
            "max_bin": _BINS,
            "eta": params.learning_rate,
            "min_child_weight": params.min_leaf_rows,
            "reg_lambda": params.l2,
            "colsample_bytree": params.feature_fraction,
            "subsample": params.row_fraction,
            "seed": seed,
            "nthread": 1,
            "verbosity": 0,
        }
        with xgboost.config_context(nthread=1):  # else reading the labels alone wakes a thread per core, and they spin
            rows = xgboost.QuantileDMatrix(features, label=label, max_bin=_BINS, nthread=1)
            booster = xgboost.train(settings, rows, num_boost_round=params.rounds)
            return cls(bytes(booster.save_raw(raw_format="ubj")), scale)

    def predict(self, features: Floats) -> Floats:
        """Forecast returns, shape (n_rows,)."""
        return _walked(self._trees, features) * self.scale

    def payload(self) -> bytes:
        """Universal binary JSON."""
        return self._payload


def _walked(trees: Any, features: Floats) -> Floats:
    from app.learning.trees import walk  # compiled code weighs 100 MB: only who forecasts loads it

    answers: Floats = walk(trees, np.ascontiguousarray(features, dtype=np.float64))
    return answers


_LIBRARIES: dict[str, type[LightGbmMember] | type[XgBoostMember]] = {"lightgbm": LightGbmMember, "xgboost": XgBoostMember}


def fit(
    features: Floats,
    label: Floats,
    params: EnsembleParams,
    *,
    seed: int,
    members: Sequence[MemberSpan] = MEMBERS,
) -> tuple[Member, ...]:
    """Fit every member on its part of the rows, which are in time order. features: (n_rows, n_features), finite.

    label: (n_rows,), returns. Raises InvalidInput when the labels do not vary.
    """
    fitted: list[Member] = []
    for index, (library, begin, end) in enumerate(members):
        span = slice(round(len(label) * begin), round(len(label) * end))
        part = label[span]
        scale = float(part.std())
        if not scale > 0.0:
            raise InvalidInput("the labels do not vary: nothing can be learnt from them")
        clipped = np.clip(part / scale, -_CLIP, _CLIP)
        fitted.append(_LIBRARIES[library].fit(features[span], clipped, scale, params, 1000 * seed + index))
    return tuple(fitted)


def restore(library: str, payload: bytes, scale: float) -> Member:
    """A member from its verified payload. Raises InvalidInput for an unknown library."""
    if library not in _LIBRARIES:
        raise InvalidInput(f"{library} is not a known library of boosters")
    return _LIBRARIES[library](payload, scale)


def predict(members: Sequence[Member], features: Floats) -> Floats:
    """What each member forecasts, shape (n_rows, n_members), fractions."""
    return np.column_stack([member.predict(features) for member in members])
