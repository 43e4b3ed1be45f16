"""The walk through the trees gives the libraries' own answers, to the last bit."""

from __future__ import annotations

import json

import lightgbm
import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.errors import InvalidInput
from app.learning.ensemble import LightGbmMember, XgBoostMember
from app.learning.parameters import BOUNDS, EnsembleParams
from app.learning.trees import from_lightgbm, from_xgboost, walk

RNG = np.random.default_rng(5)
FEATURES = RNG.normal(size=(700, 12))
FEATURES[:, 3] = RNG.integers(0, 5, 700)  # equal values, so that thresholds are met exactly
FEATURES[:, 4] *= 1e-9
LABEL = FEATURES[:, 0] * 0.3 + (FEATURES[:, 3] > 2) + RNG.normal(0, 0.5, 700)
OTHERS = RNG.normal(size=(300, 12)) * np.array([1, 1, 1, 3, 1e-9, 1, 1, 1, 1, 1, 1, 1])


def between(name: str, highest: float) -> st.SearchStrategy[float]:
    low, high = BOUNDS[name]
    return (
        st.integers(low, int(min(high, highest)))
        if isinstance(low, int)
        else st.floats(low, min(high, highest)).map(lambda x: max(low, round(x, 4)))
    )


SHAPES = st.fixed_dictionaries({name: between(name, 60) for name in BOUNDS}).map(lambda chosen: EnsembleParams(**chosen))


@settings(max_examples=12, deadline=None)
@given(params=SHAPES, seed=st.integers(0, 99))
def test_the_same_bits_as_lightgbm(params: EnsembleParams, seed: int) -> None:
    payload = LightGbmMember.fit(FEATURES, LABEL, 1.0, params, seed).payload().decode()
    for rows in (FEATURES, OTHERS, OTHERS[:1]):
        told = lightgbm.Booster(model_str=payload).predict(rows, num_threads=1)
        assert np.array_equal(walk(from_lightgbm(payload), rows), told)


@settings(max_examples=12, deadline=None)
@given(params=SHAPES, seed=st.integers(0, 99))
def test_the_same_bits_as_xgboost(params: EnsembleParams, seed: int) -> None:
    booster = xgboost.Booster()
    booster.load_model(bytearray(XgBoostMember.fit(FEATURES, LABEL, 1.0, params, seed).payload()))
    trees = from_xgboost(bytes(booster.save_raw(raw_format="json")))
    for rows in (FEATURES, OTHERS, OTHERS[:1]):
        told = booster.inplace_predict(rows, validate_features=False).astype(np.float64)
        assert np.array_equal(walk(trees, rows), told)


def test_what_the_walk_does_not_know_is_refused() -> None:
    rows = lightgbm.Dataset(FEATURES, label=LABEL, categorical_feature=[3], params={"verbosity": -1, "min_data_per_group": 1})
    text = lightgbm.train({"verbosity": -1, "max_cat_to_onehot": 1}, rows, num_boost_round=3).model_to_string()
    with pytest.raises(InvalidInput, match="categories"):
        from_lightgbm(text)
    with pytest.raises(InvalidInput, match="without trees"):
        from_lightgbm("tree\nversion=v4\n")
    booster = xgboost.train({"objective": "reg:squarederror"}, xgboost.DMatrix(FEATURES, label=np.c_[LABEL, LABEL]), 2)
    with pytest.raises(InvalidInput, match="several outputs"):
        from_xgboost(bytes(booster.save_raw(raw_format="json")))
    with pytest.raises(json.JSONDecodeError):
        from_xgboost(b"{")
