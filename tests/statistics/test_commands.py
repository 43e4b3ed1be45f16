"""`trader trials` and `trader verdict` over a database of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli import cli
from app.commands import trials as commands
from app.domain.errors import InvalidInput, NotFound
from app.domain.verdict import Level
from app.services.strategies.strategy_service import StrategyService
from app.services.verdicts.trial_ledger import TrialLedger
from app.services.verdicts.verdict_service import VerdictService
from tests.statistics.test_trial_ledger import some_data, trial
from tests.statistics.test_verdict_service import judged_as


@dataclass
class Held:
    trials: TrialLedger
    verdicts: VerdictService
    strategies: StrategyService


@pytest.fixture
def held(ledger, hand_clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Held:
    trials = TrialLedger(ledger)
    found = Held(trials, VerdictService(ledger, trials, hand_clock), StrategyService(tmp_path))

    @contextmanager
    def services() -> Iterator[Held]:
        yield found

    monkeypatch.setattr(commands, "services", services)
    return found


def trader(*arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments])


def test_trials_are_told_by_data_set(held):
    data = some_data("ab" * 32, symbols=("AAPL", "MSFT"))
    held.trials.record(data, [trial(data, n, mean=0.0001 * n) for n in range(7)])
    listed = trader("trials").output
    assert "abababababab" in listed and "AAPL MSFT" in listed and "7" in listed
    one = trader("trials", "--dataset", "abab").output
    assert "trials: 7, as good as" in one
    assert isinstance(trader("trials", "--dataset", "ff").exception, NotFound)


def test_a_verdict_is_shown_with_every_check_and_a_fail_is_no_success(held):
    held.verdicts.keep(judged_as(Level.FAIL), "b1")
    held.verdicts.keep(judged_as(Level.WARN), "b2")
    failed, warned = trader("verdict", "show", "b1"), trader("verdict", "show", "b2")
    assert (failed.exit_code, warned.exit_code) == (1, 0)
    assert "FAIL trades: 3 closed trades" in failed.output
    assert isinstance(trader("verdict", "show", "b3").exception, NotFound)
    listed = trader("verdict", "list").output
    assert listed.index("b2") < listed.index("b1")
    assert "fast=5, slow=50" in listed


def test_the_list_of_verdicts_tells_who_overrode_the_newest_and_why(held):
    held.verdicts.keep(judged_as(Level.FAIL), "b1")
    assert "overridden" not in trader("verdict", "list").output
    held.verdicts.override("sma_cross", {"fast": 5, "slow": 50}, actor="ada", reason="small")
    assert "ada" in trader("verdict", "list").output
    held.verdicts.keep(judged_as(Level.FAIL), "b2")
    assert "ada" not in trader("verdict", "list").output


def test_an_override_names_every_parameter_and_who_decided(held, ledger):
    given = ("verdict", "override", "sma_cross", "--parameters", '{"fast": 10}', "--actor", "ada", "--reason", "small")
    said = trader(*given)
    assert said.exit_code == 0, said.exception
    kept = ledger.verdict_override("sma_cross", {"fast": 10, "slow": 30})
    assert (kept.actor, kept.reason) == ("ada", "small")
    assert "by ada at 2024-03-01 15:00: small" in " ".join(said.output.split())
    assert trader("verdict", "override", "ensemble", "--reason", "main job").exit_code == 0
    assert ledger.verdict_override("ensemble", {}) is not None


@pytest.mark.parametrize(
    "wrong",
    [
        ["sma_cross", "--parameters", '{"fsat": 10}', "--reason", "x"],
        ["sma_cross", "--parameters", "fast=10", "--reason", "x"],
        ["sma_cross", "--parameters", '{"fast": true}', "--reason", "x"],
        ["ensemble", "--parameters", '{"fast": 10}', "--reason", "x"],
        ["smacross", "--reason", "x"],
        ["sma_cross", "--reason", " "],
    ],
)
def test_what_cannot_be_overridden_is_told(held, ledger, wrong):
    assert isinstance(trader("verdict", "override", *wrong).exception, InvalidInput)
    assert ledger.verdict_override("sma_cross", {"fast": 10, "slow": 30}) is None
