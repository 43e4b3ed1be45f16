from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, insert, select

from app.domain.errors import InvalidInput
from app.domain.order import Side
from app.storage.columns import ExactDecimal, Instant, Json, Words, to_json
from app.storage.database import Database

SAMPLES = Table(
    "samples",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("number", ExactDecimal),
    Column("at", Instant),
    Column("words", Words),
    Column("json", Json),
)
SHARED = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def samples(database: Database) -> Iterator[Database]:
    SAMPLES.create(database.engine)
    yield database
    SAMPLES.drop(database.engine)


def back(database: Database, name: str, values: list) -> list:
    """What the database gives for the values it was given."""
    column = SAMPLES.c[name]

    def work(connection):
        connection.execute(SAMPLES.delete())
        connection.execute(insert(SAMPLES), [{"id": i, name: value} for i, value in enumerate(values)])
        return connection.execute(select(column).order_by(SAMPLES.c.id)).scalars().all()

    return list(database.write(work))


@SHARED
@given(
    st.lists(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20), min_size=1, max_size=20)
)
def test_decimals_come_back_exactly(samples, values):
    assert back(samples, "number", values) == values


def test_the_decimal_that_floats_corrupt(samples):
    assert back(samples, "number", [Decimal("123456789012.12345678")]) == [Decimal("123456789012.12345678")]


@pytest.mark.row("F04")
@SHARED
@given(
    st.lists(
        st.datetimes(min_value=datetime(1971, 1, 2), max_value=datetime(2200, 1, 1), timezones=st.sampled_from(
            [UTC, timezone(timedelta(hours=-5)), timezone(timedelta(hours=9, minutes=30))])),
        min_size=1, max_size=20,
    )
)  # fmt: skip
def test_instants_come_back_exactly_and_in_utc(samples, values):
    found = back(samples, "at", values)
    assert found == values
    assert all(at.tzinfo is UTC for at in found)


@SHARED
@given(st.lists(st.text(), min_size=1, max_size=20))
def test_any_text_is_storable(samples, values):
    found = back(samples, "words", values)
    assert found == [v.replace("\0", "\ufffd").encode("utf-8", "replace").decode() for v in values]


@SHARED
@given(st.lists(st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=10,
).filter(lambda value: value is not None), min_size=1, max_size=10))  # fmt: skip
def test_plain_json_comes_back_equal(samples, values):
    assert back(samples, "json", values) == values


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("number", 1.5),
        ("number", Decimal("NaN")),
        ("number", Decimal("Infinity")),
        ("at", datetime(2024, 3, 1)),
        ("json", object()),
        ("json", b"bytes"),
    ],
)
def test_what_cannot_come_back_is_refused(samples, column, value):
    with pytest.raises(InvalidInput):
        back(samples, column, [value])


def test_json_forms():
    value = {
        "nan": float("nan"), "inf": np.float64("inf"), "array": np.array([1.5, np.nan]), "ints": np.array([1, 2]),
        "count": np.int64(3),
        "yes": np.bool_(True), "money": Decimal("1.10"), "at": datetime(2024, 3, 1, tzinfo=UTC),
        "side": Side.BUY, "pair": (1, 2),
    }  # fmt: skip
    assert json.loads(to_json(value)) == {
        "nan": None, "inf": None, "array": [1.5, None], "ints": [1, 2], "count": 3,
        "yes": True, "money": "1.10", "at": "2024-03-01T00:00:00+00:00", "side": "buy", "pair": [1, 2],
    }  # fmt: skip
