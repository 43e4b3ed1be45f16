"""Values as JSON: exact, standard, and nothing that should stay inside."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from app.domain.order import Side
from app.domain.reason import Reason
from app.domain.trading_state import TradingState
from app.risk.limits import RiskLimits
from app.web import wire

from .fakes import record

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.decimals() | st.sampled_from([*Reason, *Side])
    | st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5))])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


@given(values)
def test_everything_becomes_standard_json(value: Any) -> None:
    text = json.dumps(wire.to_wire(value), allow_nan=False)
    assert json.loads(text) == wire.to_wire(value)


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_decimals_are_exact(value: Decimal) -> None:
    text = wire.to_wire(value)
    assert isinstance(text, str)
    assert Decimal(text) == value
    assert "e" not in text.lower()


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=9, minutes=30))]), min_value=datetime(2, 1, 1)))
def test_times_are_utc_and_exact(value: datetime) -> None:
    text = wire.to_wire(value)
    assert isinstance(text, str)
    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == value


def test_records_arrays_and_named_tuples() -> None:
    row = wire.decision(record())
    assert row["reason"]["code"] == "buy_signal"
    assert row["members"][2] is None
    assert row["side"] == "buy"
    assert wire.to_wire(TradingState.HALTED) == "halted"
    assert wire.to_wire(np.array([1.0, math.nan])) == [1.0, None]
    assert wire.to_wire(np.int64(3)) == 3
    assert wire.fields(RiskLimits())["max_positions"] == 7


@pytest.mark.parametrize("value", [SecretStr("x"), object(), datetime(2026, 1, 1), b"x", Exception("x"), int])
def test_what_has_no_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        wire.to_wire(value)


def test_a_stored_reason_gets_its_sentence_back() -> None:
    assert wire.decision({"reason": "no_forecast"})["reason"] == {"code": "no_forecast", "text": Reason.NO_FORECAST.text}
    assert wire.decision({"reason": "something_new"})["reason"] == "something_new"


def test_a_fill_record_is_flat() -> None:
    assert wire.fill({"fill": {"symbol": "AAPL"}, "purpose": "entry"}) == {"symbol": "AAPL", "purpose": "entry"}
