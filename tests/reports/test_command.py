"""`trader backtests` over a database of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.cli import cli
from app.commands import backtests as commands
from app.domain.errors import InvalidInput, NotFound
from app.domain.records import BacktestRecord
from app.services.database_service import DatabaseService
from tests.reports.made import VERDICT, stored


@dataclass
class Held:
    database: DatabaseService


@pytest.fixture
def ids(ledger: DatabaseService, hand_clock: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two backtests in the database of the command, the older first."""

    @contextmanager
    def services() -> Iterator[Held]:
        yield Held(ledger)

    monkeypatch.setattr(commands, "services", services)
    found = []
    for strategy in (None, "sma_cross"):
        one = stored(60, verdict=VERDICT, strategy=strategy)
        found.append(ledger.save_backtest(one.params, one.performance, one.result or {}))
        hand_clock.forward(60)
    return found


def trader(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["backtests", *arguments])


def test_list_and_show(ids: list[str]) -> None:
    listed = json.loads(trader("list", "--json").stdout)
    assert [one["backtest_id"] for one in listed] == ids[::-1]
    assert all(name[:12] in trader("list").stdout for name in ids)
    shown = json.loads(trader("show", ids[0], "--json").stdout)
    assert shown["backtest_id"] == ids[0] and len(shown["result"]["equity_curve"]) == 60
    said = trader("show").stdout
    assert ids[1] in said and "Sharpe ratio" in said and "Costs over gross profit" in said


def test_report_writes_what_was_asked_for(ids: list[str], tmp_path: Path) -> None:
    html, png = tmp_path / "r.html", tmp_path / "r.png"
    assert trader("report", "--html", str(html), "--png", str(png)).exit_code == 0
    assert "Backtest of sma_cross" in html.read_text() and png.read_bytes().startswith(b"\x89PNG")
    older = tmp_path / "older.html"
    assert trader("report", ids[0], "--html", str(older)).exit_code == 0
    assert "model-driven" in older.read_text() and ids[0] in older.read_text()


def test_report_with_nowhere_to_go_writes_nothing(ids: list[str], tmp_path: Path) -> None:
    assert isinstance(trader("report").exception, InvalidInput)
    html = tmp_path / "r.html"
    gone = trader("report", "--html", str(html), "--png", str(tmp_path / "no" / "r.png"))
    assert isinstance(gone.exception, InvalidInput) and "no such folder" in str(gone.exception)
    assert not html.exists()
    assert isinstance(trader("report", "unknown", "--html", str(html)).exception, NotFound)


def test_an_id_may_be_given_by_its_beginning(ids: list[str]) -> None:
    assert json.loads(trader("show", ids[0][:8], "--json").stdout)["backtest_id"] == ids[0]


def test_a_beginning_of_several_ids_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Twins:
        def backtests(self, limit: int) -> list[BacktestRecord]:
            return [replace(stored(5), backtest_id=name) for name in ("abc1", "abc2")]

        def backtest(self, name: str) -> BacktestRecord:
            raise NotFound(f"no backtest {name}")

    @contextmanager
    def services() -> Iterator[Any]:
        yield SimpleNamespace(database=Twins())

    monkeypatch.setattr(commands, "services", services)
    assert "2 backtests begin with abc" in str(trader("show", "abc").exception)


def test_compare(ids: list[str]) -> None:
    found = json.loads(trader("compare", *ids, "--json").stdout)
    assert found["differences"] == {"strategy": [None, "sma_cross"]} and found["warnings"] == []
    said = trader("compare", *ids).stdout
    assert ids[0][:12] in said and "Deepest drawdown" in said and "WARN" in said
    assert isinstance(trader("compare", ids[0]).exception, InvalidInput)


def test_a_new_backtest_is_shown_and_written(
    ids: list[str], ledger: DatabaseService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    class Backtests:
        def run(self, params: dict[str, Any], progress: Any) -> dict[str, Any]:
            asked.append(params)
            return {"backtest_id": ids[1]}

    @contextmanager
    def services() -> Iterator[Any]:
        yield SimpleNamespace(database=ledger, backtests=Backtests())

    command = next(c.callback for c in cli.registered_commands if c.callback and c.callback.__name__ == "backtest")
    monkeypatch.setattr(f"{command.__module__}.services", services)
    html = tmp_path / "report.html"
    ran = CliRunner().invoke(cli, ["backtest", "--days", "30", "--html", str(html)])
    assert ran.exit_code == 0 and "WARN: The evidence is not enough" in ran.stdout and "12 closed trades" in ran.stdout
    assert "Backtest of sma_cross" in html.read_text()
    nowhere = CliRunner().invoke(cli, ["backtest", "--png", str(tmp_path / "no" / "r.png")])
    assert isinstance(nowhere.exception, InvalidInput) and len(asked) == 1, "long work for nothing"


def test_without_any_backtest(ledger: DatabaseService, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def services() -> Iterator[Held]:
        yield Held(ledger)

    monkeypatch.setattr(commands, "services", services)
    assert "no backtest has been run yet" in trader("list").stdout
    assert "no backtest has been run yet" in str(trader("show").exception)
