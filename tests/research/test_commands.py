"""The commands: what people type, what they see, what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from app.cli import cli
from app.commands.console import out
from app.commands.research_options import read_grid
from app.config import settings
from app.domain.errors import InvalidInput
from tests.research.bench import BARS

PLAIN = {"NO_COLOR": "1"}


@pytest.fixture
def trader(tmp_path, monkeypatch):
    for name, value in {
        "DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db",
        "STATE_DIR": str(tmp_path / "state"),
        "LOGS_DIR": str(tmp_path / "logs"),
        "PARAMS_DIR": str(tmp_path / "params"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(out, "_width", 200)  # a console keeps the width of the moment at which it was first imported
    settings.cache_clear()
    file = tmp_path / "bars.csv"
    rows = [
        f"{symbol},{datetime.fromtimestamp(int(at), UTC):%Y-%m-%d},{o:.4f},{h:.4f},{lo:.4f},{c:.4f},{v:.0f}"
        for symbol, s in BARS.items()
        for at, o, h, lo, c, v in zip(s.timestamp, s.open, s.high, s.low, s.close, s.volume, strict=True)
    ]
    file.write_text("\n".join(["symbol,timestamp,open,high,low,close,volume", *rows]))
    runner = CliRunner()
    yield lambda *arguments: runner.invoke(cli, [one.replace("FILE", str(file)) for one in arguments], env=PLAIN)
    settings.cache_clear()


def test_a_sweep_prints_the_best_a_heat_map_and_how_much_was_tried(trader, tmp_path):
    asked = ("sweep", "sma_cross", "--grid", "fast=3,5,8 slow=13:34:7", "--data", "FILE", "--top", "3")
    told = trader(*asked)
    assert told.exit_code == 0, told.output
    assert "fast across, slow down" in told.output
    assert "12 sets were evaluated here; 12 configurations have been tried on these bars" in told.output
    assert told.output.count("\n") > 10
    html, png = tmp_path / "report.html", tmp_path / "report.png"
    told = trader(*asked, "--json", "--html", str(html))
    result = json.loads(told.stdout[: told.stdout.rindex("}") + 1])["result"]
    assert "Sweep of sma_cross" in html.read_text()
    assert result["heat_map"]["y_values"] == [13, 20, 27, 34]
    assert len(result["table"]) == 3
    listed = trader("research", "list")
    assert listed.output.count("done") == 2 + 1  # and the name of the column
    run = next(word for line in listed.output.splitlines() if "sweep" in line for word in line.split())
    assert trader("research", "show", run).exit_code == 0
    assert trader("research", "report", run, "--png", str(png)).exit_code == 0 and png.read_bytes().startswith(b"\x89PNG")
    assert "say where to write it" in str(trader("research", "report", run).exception)
    assert "no such folder" in str(trader(*asked, "--html", str(tmp_path / "no" / "x.html")).exception)
    assert "workers write no report" in str(trader(*asked, "--queue", "2", "--html", str(html)).exception)
    assert "takes two parameters" in str(trader(*asked, "--axes", "fast").exception)
    assert "sma_cross" in trader("research", "best").output
    assert trader("research", "resume", run).exit_code == 0


def test_a_walk_forward_prints_its_windows_and_the_verdict(trader, tmp_path):
    html = tmp_path / "windows.html"
    told = trader(
        "walk-forward",
        "sma_cross",
        "--grid",
        "fast=3,5 slow=13,21",
        "--data",
        "FILE",
        "--train-bars",
        "300",
        "--test-bars",
        "199",
        "--html",
        str(html),
    )
    assert told.exit_code == 0, told.output
    assert "out of sample" in told.output and "Walk-forward of sma_cross" in html.read_text()
    assert "buy and hold" in told.output
    assert "trials counted" in told.output


def test_a_walk_forward_over_combinatorial_splits_prints_its_paths(trader):
    grid = ("--grid", "fast=3,5 slow=13,21", "--data", "FILE")
    told = trader("walk-forward", "sma_cross", *grid, "--splits", "combinatorial", "--groups", "4", "--tested", "2")
    assert told.exit_code == 0, told.output
    assert "6 splits of 4 groups, 2 tested, make 3 paths" in told.output
    assert "Probability of overfitting" in told.output
    assert "Mean Sharpe ratio of the splits" in told.output
    assert "4 configurations have been tried" in told.output
    refused = trader("walk-forward", "sma_cross", *grid, "--splits", "combinatorial", "--groups", "2", "--tested", "2")
    assert "leave some to choose on" in str(refused.exception)


def test_a_search_within_bounds(trader):
    told = trader(
        "optimize", "sma_cross", "--bounds", "fast=2:9 slow=10:40", "--data", "FILE", "--trials", "6", "--set", "", "--top", "2"
    )
    assert told.exit_code == 0, told.output
    assert "chosen: fast" in told.output


def test_grids_as_people_write_them():
    assert read_grid("fast=5,10 slow=50:200:50") == {"fast": [5, 10], "slow": [50, 100, 150, 200]}
    assert read_grid("x=0.1:0.3:0.1") == {"x": [0.1, 0.2, 0.3]}
    assert read_grid("fast=5:40", ranges_only=True) == {"fast": [5, 40]}
    assert read_grid("") == {}


@pytest.mark.parametrize(
    "text", ["fast", "fast=", "fast=,", "=5", "fast=a", "fast=1:2", "fast=1:9:0", "fast=9:1:1", "fast=nan:1:1"]
)
def test_grids_that_mean_nothing_are_refused(text):
    with pytest.raises(InvalidInput, match="write NAME="):
        read_grid(text)


def test_a_parameter_given_twice_is_refused():
    with pytest.raises(InvalidInput, match="given twice"):
        read_grid("fast=5 slow=20 fast=6")


def test_what_is_unknown_is_refused(trader):
    assert "did you mean sma_cross" in str(trader("sweep", "sma_crs", "--grid", "fast=3", "--data", "FILE").exception)
    assert "no research run" in str(trader("research", "show", "nothing").exception)
    assert trader("research", "cancel", "nothing").exit_code == 1
