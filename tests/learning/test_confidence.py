"""Confidence by its table, and reliability by counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidInput
from app.learning.confidence import confidence, reliability

SPREAD = np.array([-1.0, 1.0, -1.0, 1.0, -1.0, 1.0])
SPREAD = SPREAD / SPREAD.std(ddof=1)


@pytest.mark.parametrize(
    ("means_over_deviation", "expected"),
    [(0.0, 0.0), (0.2533, 0.2), (0.6745, 0.5), (1.0364, 0.7), (-1.0364, 0.7), (1.6449, 0.9), (40.0, 1.0)],
)
def test_table(means_over_deviation: float, expected: float) -> None:
    members = 0.01 * (SPREAD + means_over_deviation)
    assert confidence(members) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("members", "expected"), [([0.003] * 6, 1.0), ([-1e-9] * 6, 1.0), ([0.0] * 6, 0.0)])
def test_members_that_all_agree(members: list[float], expected: float) -> None:
    assert confidence(np.array(members)) == expected


@pytest.mark.row("H05")
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_member_that_is_no_number_leaves_no_confidence(bad: float) -> None:
    with np.errstate(invalid="ignore"):
        assert np.isnan(confidence(np.array([0.1, 0.2, bad, 0.1, 0.1, 0.1])))


def test_one_member_cannot_agree_with_itself() -> None:
    with pytest.raises(InvalidInput):
        confidence(np.array([0.1]))


@given(st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=9), st.sampled_from([0.25, 2.0, -1.0, -8.0]))
def test_confidence_is_a_share_and_knows_neither_unit_nor_sign(members: list[float], factor: float) -> None:
    values = np.where(np.abs(members) < 1e-12, 0.0, members)
    assert 0.0 <= confidence(values) <= 1.0
    assert confidence(values * factor) == pytest.approx(confidence(values), abs=1e-9)


def test_reliability_counts_right_signs_per_bin() -> None:
    forecast = np.array([0.1, 0.1, -0.1, 0.1, 0.1, 0.1])
    certain = np.array([0.0, 0.7, 0.7, 0.99, 1.0, 1.0])
    outcome = np.array([-1.0, 1.0, 1.0, 1.0, -1.0, 0.0])
    found = {(b.low, b.high): (b.count, b.hit_fraction) for b in reliability(forecast, certain, outcome)}
    assert found == {
        (0.0, 0.3): (1, 0.0),
        (0.3, 0.5): (0, None),
        (0.5, 0.7): (0, None),
        (0.7, 0.85): (2, 0.5),
        (0.85, 1.0): (2, 0.5),
    }
