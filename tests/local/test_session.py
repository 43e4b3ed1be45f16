"""Saved runs: what is resumed, what begins anew, and one installation per directory."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from app.config import Settings
from app.domain.errors import Conflict, InvalidInput
from app.local.session import InstanceLock, Wish, open_run, run_environment

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LIST = ("AAPL", "MSFT")


@pytest.mark.parametrize(
    ("wish", "resumed"),
    [
        (Wish(), True),
        (Wish(seed=7), True),
        (Wish(symbols=LIST), True),
        (Wish(cash=Decimal(100_000), speed=1e6, cycles=3), True),
        (Wish(seed=8), False),
        (Wish(symbols=("SPY",)), False),
        (Wish(cash=Decimal(5)), False),
        (Wish(start=date(2024, 3, 1)), False),
    ],
)
def test_what_goes_on_and_what_begins_anew(tmp_path, wish, resumed):
    first = open_run(tmp_path, Wish(), LIST, at=AT)
    (first.directory / "alpha_trader.db").write_text("orders")
    second = open_run(tmp_path, wish, LIST, at=AT)
    assert second.resumed is resumed
    assert (second.directory / "alpha_trader.db").exists() is resumed
    if not resumed:
        assert second.archived is not None
        assert (second.archived / "alpha_trader.db").read_text() == "orders"


def test_a_resumed_run_keeps_its_data_and_its_start(tmp_path):
    bars = tmp_path / "bars.parquet"
    bars.write_bytes(b"x")
    made = open_run(tmp_path / "db", Wish(data=bars, start=date(2022, 3, 1)), LIST, at=AT)
    again = open_run(tmp_path / "db", Wish(), ("OTHER",), at=AT)
    assert again.resumed
    assert again.market == made.market
    assert made.market.identity.startswith("bars-")
    other = tmp_path / "other.parquet"
    other.write_bytes(b"y")
    moved = open_run(tmp_path / "db", Wish(data=other), LIST, at=AT)
    assert (moved.resumed, moved.market.start) == (False, "")
    assert moved.market.identity != made.market.identity


def test_a_broken_market_file_loses_nothing(tmp_path):
    run = open_run(tmp_path, Wish(), LIST, at=AT)
    (run.directory / "market.json").write_text("{")
    again = open_run(tmp_path, Wish(), LIST, at=AT)
    assert not again.resumed
    assert again.archived is not None


def test_what_a_person_set_by_hand_stays(tmp_path):
    run = open_run(tmp_path, Wish(), LIST, at=AT)
    plain = run_environment(run, Settings(_env_file=None), "http://127.0.0.1:5801")
    assert plain["DATABASE_URL"].endswith("simulated/alpha_trader.db")
    assert plain["MODELS_DIR"].endswith("models/generated-7")
    chosen = Settings(_env_file=None, database_url="postgresql+psycopg://x/y", models_dir=tmp_path)
    assert not {"DATABASE_URL", "MODELS_DIR"} & set(run_environment(run, chosen, "http://127.0.0.1:5801"))
    assert Settings(_env_file=None, **{name.lower(): value for name, value in plain.items()}).watchlist == LIST


def test_one_installation_per_directory_and_a_killed_one_lets_go(tmp_path):
    code = (
        "import sys, pathlib, time; from app.local.session import InstanceLock; "
        "InstanceLock(pathlib.Path(sys.argv[1])).take(); print('taken', flush=True); time.sleep(60)"
    )
    # the lock object must live: the second statement keeps it by never returning
    code = code.replace(
        "InstanceLock(pathlib.Path(sys.argv[1])).take()", "lock = InstanceLock(pathlib.Path(sys.argv[1])); lock.take()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "taken\n"
    with pytest.raises(Conflict, match=str(holder.pid)):
        InstanceLock(tmp_path).take()
    holder.kill()
    holder.wait()
    lock = InstanceLock(tmp_path)
    lock.take()
    lock.release()


def test_a_market_that_cannot_be_replayed_leaves_the_saved_run_where_it_is(tmp_path):
    first = open_run(tmp_path, Wish(), LIST, at=AT)
    (first.directory / "alpha_trader.db").write_text("orders")

    def refuse(_market):
        raise InvalidInput("a start on 1900-01-01 is outside it")

    with pytest.raises(InvalidInput):
        open_run(tmp_path, Wish(start=date(1900, 1, 1)), LIST, at=AT, check=refuse)
    again = open_run(tmp_path, Wish(), LIST, at=AT, check=refuse)
    assert again.resumed
    assert (again.directory / "alpha_trader.db").read_text() == "orders"
