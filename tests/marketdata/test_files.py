"""Bar files: what is read, what is dropped and counted, and what an unusable file is told."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from app.domain.errors import InvalidInput
from app.marketdata.files import load_bars
from tests.real_data import WATCHLIST_DAILY, needs

HEAD = "symbol,timestamp,open,high,low,close,volume\n"


def write(tmp_path, text, name="bars.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_daily_csv_gets_the_labels_of_the_venue(tmp_path):
    file = load_bars(
        write(
            tmp_path,
            HEAD + "ACME,2024-07-03,10,12,9,11,500\n" + "ACME,2024-01-02,10,12,9,11,500\n" + "bcme,2024-01-02,1,1,1,1,0\n",
        )
    )
    acme = file.bars["ACME"]
    assert file.timeframe == "1Day"
    assert set(file.bars) == {"ACME", "BCME"}
    assert [datetime.fromtimestamp(t, UTC).isoformat() for t in acme.timestamp] == [
        "2024-01-02T05:00:00+00:00",  # midnight in New York, winter
        "2024-07-03T04:00:00+00:00",  # summer
    ]
    assert [datetime.fromtimestamp(t, UTC).isoformat() for t in acme.known_at] == [
        "2024-01-02T21:00:00+00:00",
        "2024-07-03T17:00:00+00:00",  # half day: closes at 13:00
    ]


def test_bad_rows_are_dropped_and_counted(tmp_path):
    rows = [
        "ACME,2024-01-02,10,12,9,11,500",
        "ACME,2024-01-02,10,12,9,11,500",
        "ACME,not a time,10,12,9,11,500",
        "ACME,2024-01-03,0,12,9,11,500",
        "ACME,2024-01-04,10,nan,9,11,500",
        "ACME,2024-01-05,10,8,9,11,500",
        "ACME,2024-01-08,ten,12,9,11,500",
        "ACME,2024-01-09,10,12,9,13,500",
        ",2024-01-09,10,12,9,11,500",
    ]
    file = load_bars(write(tmp_path, HEAD + "\n".join(rows)))
    assert len(file.bars["ACME"]) == 1
    assert file.dropped == {
        "given twice": 1,
        "without a readable time": 1,
        "with a price not above zero or a negative volume": 1,
        "with a missing number": 2,
        "with open or close outside low..high": 2,
        "without a symbol": 1,
    }


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("bars.csv", "symbol,timestamp,open,high,low,volume\nA,2024-01-02,1,1,1,1\n", "lacks close"),
        ("bars.csv", HEAD, "no rows"),
        ("bars.csv", HEAD + "A,yesterday,1,1,1,1,1\n", "no usable bar"),
        ("bars.csv", "", "cannot be read"),
        ("bars.parquet", "not parquet", "cannot be read"),
        ("bars.xlsx", "x", "neither .parquet nor .csv"),
        ("bars.csv", HEAD + "A,2024-01-02T14:30:00Z,1,1,1,1,1\nA,2024-01-02T14:30:07Z,1,1,1,1,1\n", "7 seconds apart"),
    ],
)
def test_an_unusable_file_is_told_why(tmp_path, name, text, says):
    with pytest.raises(InvalidInput, match=says):
        load_bars(write(tmp_path, text, name))


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InvalidInput, match="there is no file"):
        load_bars(tmp_path / "none.parquet")


def test_intraday_parquet_with_extra_columns(tmp_path):
    start = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
    table = pa.table(
        {
            "symbol": ["ACME"] * 3,
            "timestamp": pa.array([datetime.fromtimestamp(start.timestamp() + 300 * i, UTC) for i in range(3)]),
            "open": [1.0, 2.0, 3.0],
            "high": [1.0, 2.0, 3.0],
            "low": [1.0, 2.0, 3.0],
            "close": [1.0, 2.0, 3.0],
            "volume": [1, 2, 3],
            "adj_close": [0.0, 0.0, 0.0],
        }
    )
    parquet.write_table(table, tmp_path / "bars.parquet")
    file = load_bars(tmp_path / "bars.parquet", symbols=("ACME", "ZZZ"))
    assert file.timeframe == "5Min"
    assert set(file.bars) == {"ACME"}
    assert (file.bars["ACME"].known_at - file.bars["ACME"].timestamp == 300).all()
    with pytest.raises(InvalidInput, match="no row of the wanted symbols"):
        load_bars(tmp_path / "bars.parquet", symbols=("ZZZ",))


@pytest.mark.parametrize(
    ("minutes", "timeframe"),
    [
        ([0, 1, 2, 3], "1Min"),
        ([0, 2, 4, 5, 7, 9], "1Min"),  # thin: two minutes apart more often than one
        ([0, 10, 20, 35, 45], "5Min"),
        ([0, 60, 120, 240], "1Hour"),
        ([*range(0, 5 * 200, 5), 998], "5Min"),  # one stray bar
    ],
)
def test_the_length_of_a_bar_is_found_in_thin_files(tmp_path, minutes, timeframe):
    start = datetime(2024, 1, 2, 9, 0, tzinfo=UTC).timestamp()
    rows = [f"ACME,{datetime.fromtimestamp(start + 60 * m, UTC).isoformat()},1,1,1,1,1" for m in minutes]
    assert load_bars(write(tmp_path, HEAD + "\n".join(rows))).timeframe == timeframe


@pytest.mark.data
@needs(WATCHLIST_DAILY)
def test_the_watchlist_file():
    file = load_bars(WATCHLIST_DAILY)
    assert len(file.bars) == 32
    assert not file.dropped
    aapl = file.bars["AAPL"]
    crash = np.searchsorted(aapl.timestamp, datetime(2020, 3, 23, 4, tzinfo=UTC).timestamp())
    assert aapl.close[crash] == pytest.approx(56.09, abs=0.005)
