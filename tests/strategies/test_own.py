"""A user's own strategy: written by `trader strategy new`, loaded by name, refused with file and line when it is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from app.cli import cli
from app.config import settings
from app.domain.errors import Conflict, InvalidInput, NotFound
from app.services.strategies.strategy_service import StrategyService, load
from app.strategies.catalog import find
from app.strategies.class_strategy import ClassStrategy, class_strategy
from app.strategies.forecaster import StrategyForecaster, TapedForecaster
from app.strategies.laws import broken_laws
from app.strategies.strategy import Parameter, checked, evaluated
from tests.strategies.panels import walk
from tests.strategies.test_forecaster import at_bar, series

REPOSITORY = Path(__file__).parents[2]


def test_what_new_writes_passes_its_own_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRATEGIES_DIR", str(tmp_path / "mine"))
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("LOGS_DIR", str(tmp_path / "logs"))
    settings.cache_clear()
    for name, flags in (("my_idea", []), ("my_class", ["--class"])):
        made = CliRunner().invoke(cli, ["strategy", "new", name, *flags])
        assert made.exit_code == 0, made.output
        shown = CliRunner().invoke(cli, ["strategy", "show", name])
        assert shown.exit_code == 0 and "length" in shown.output and f"STRATEGY={name}" in shown.output
        assert name in CliRunner().invoke(cli, ["strategy", "list"]).output
        assert isinstance(CliRunner().invoke(cli, ["strategy", "new", name]).exception, Conflict)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "mine")]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0 and "4 passed" in ran.stdout, ran.stdout + ran.stderr
    settings.cache_clear()


def test_the_catalog_is_listed_and_each_one_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("LOGS_DIR", str(tmp_path / "logs"))
    settings.cache_clear()
    listed = CliRunner().invoke(cli, ["strategy", "list"]).output
    for name in ("ensemble", "weighted_ensemble", "sma_cross", "cross_sectional_momentum", "confirmed_forecast"):
        assert name in listed
        assert CliRunner().invoke(cli, ["strategy", "show", name]).exit_code == 0
    settings.cache_clear()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nowhere_to_be_found\n", "idea.py line 1: ModuleNotFoundError"),
        ("x = 1\ndef broken(:\n    pass\n", "idea.py line 2: "),
        ("x = 1\ny = x / 0\n", "idea.py line 2: ZeroDivisionError"),
        ("x = 1\n", "it defines no STRATEGY"),
        ("class A:\n    def on_bar(self, bar, position): ...\nSTRATEGY = A()\n", "wrap a class with on_bar in class_strategy"),
        ("from app.strategies.trend import Trend\nSTRATEGY = Trend()\n", "name it as its file, 'idea'"),
        (
            "from app.strategies.class_strategy import *\nclass A:\n    name = 'idea'\nSTRATEGY = class_strategy(A)\n",
            "idea.py line 4: InvalidInput: A: the class lacks on_bar, memory",
        ),
    ],
)
def test_a_wrong_file_is_named_with_its_line(text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "idea.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "idea.py", Path("idea.py")):
        with pytest.raises(InvalidInput, match=r"idea\.py") as refusal:
            load(path)
        assert words in refusal.value.message


def test_only_the_named_file_is_run(tmp_path: Path) -> None:
    service = StrategyService(tmp_path)
    service.create("mine", as_class=False)
    (tmp_path / "other.py").write_text("raise SystemExit(3)\n")
    assert service.own() == ["mine", "other"]
    assert service.find("mine").name == "mine"


def test_names_that_cannot_be_are_refused(tmp_path: Path) -> None:
    service = StrategyService(tmp_path)
    for name in ("../evil", "a-b", "Capital", "", "test_x", "_x", "1x"):
        with pytest.raises(InvalidInput, match="small letters"):
            service.create(name, as_class=False)
    for name in ("math", "numpy", "class"):
        with pytest.raises(InvalidInput, match="choose another name"):
            service.create(name, as_class=False)
    for name in ("sma_cross", "ensemble"):
        with pytest.raises(Conflict, match="choose another name"):
            service.create(name, as_class=False)
    with pytest.raises(NotFound, match="did you mean sma_cross"):
        service.find("sma_cros")
    with pytest.raises(NotFound, match="no strategy is called"):
        service.find("../../etc/passwd")
    assert list(tmp_path.iterdir()) == []


class Mean:
    """Above or below a mean of closes."""

    name = "mean_side"
    parameters = (Parameter(name="length", default=20, low=2, high=100, doc="closes"),)

    def __init__(self, length: int) -> None:
        self.closes: deque[float] = deque(maxlen=length)

    def on_bar(self, bar, position):
        self.closes.append(bar.close)
        if len(self.closes) < self.closes.maxlen:
            return None
        return float(np.sign(bar.close - sum(self.closes) / len(self.closes)))

    @staticmethod
    def memory(values):
        return values["length"]


class Forgetful(Mean):
    """Declares less than it remembers."""

    @staticmethod
    def memory(values):
        return values["length"] - 3


class Endless(Mean):
    """Remembers every bar there was."""

    def on_bar(self, bar, position):
        self.closes = deque([*self.closes, bar.close])
        return float(np.sign(bar.close - sum(self.closes) / len(self.closes)))


class Leak(type(find("swing"))):  # type: ignore[misc]
    """Takes the mean of all closes."""

    def columns(self, panel, values):
        return {"mean": np.broadcast_to(panel.close.mean(axis=1, keepdims=True), panel.close.shape), "close": panel.close}

    def score(self, columns, values):
        return np.sign(columns["close"] - columns["mean"])


def test_a_class_gives_the_same_scores_live_and_on_a_tape() -> None:
    strategy, panel = class_strategy(Mean), walk(3, 120)
    assert isinstance(strategy, ClassStrategy) and strategy.doc == "Above or below a mean of closes."
    bars, tape = series(panel), TapedForecaster(strategy, {}, panel)
    live = StrategyForecaster(strategy, {})
    for bar in (0, 18, 19, 60, 119):
        assert live.forecast(bars, at_bar(panel, bar)) == tape.forecast(bars, at_bar(panel, bar))
    assert np.isnan(tape.score[:, :19]).all() and np.isfinite(tape.score[:, 19:]).all()


def test_a_class_is_told_what_its_own_scores_ask_for() -> None:
    class Counting:
        name = "counting"

        def __init__(self) -> None:
            self.seen: list[float] = []

        def on_bar(self, bar, position):
            self.seen.append(position)
            assert self.seen == [0.0, 0.0, 1.0, 1.0, 0.0, 0.0][: len(self.seen)]
            return [0.2, 0.9, None, -0.8, 0.0, float("nan")][len(self.seen) - 1]

        @staticmethod
        def memory(values):
            return 1

    _, score = evaluated(class_strategy(Counting), walk(1, 6), {})
    np.testing.assert_array_equal(score[0], [0.2, 0.9, np.nan, -0.8, 0.0, np.nan])


def test_who_looks_ahead_or_remembers_more_than_declared_is_found(tmp_path: Path) -> None:
    values = {"length": 20}
    assert broken_laws(class_strategy(Mean), values) == ()
    for made in (Forgetful, Endless):
        (fault,) = broken_laws(class_strategy(made), values)
        assert "remembers more than its" in fault
    faults = broken_laws(Leak(), checked(Leak(), {}))
    assert any("looks ahead: mean" in fault for fault in faults) and any("looks ahead: the score" in fault for fault in faults)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('values["length"], values["span"] + 1', 'values["lenght"], 1', "mine.py line 28: KeyError: 'lenght'"),
        ('return max(values["length"], values["span"] + 1)', "return 0", "memory at least 1"),
        ("return VOTE", "return 0.0", "threshold must be above 0"),
        ('"rise": change', '"rise": chance', "NameError: name 'chance' is not defined"),
        ("return votes((close", "return 3 * votes((close", "is beyond -1..1"),
        ("default=20, low=2", "default=1, low=2", "length: 1 must lie between 2 and 500"),
    ],
)
def test_a_strategy_that_fails_is_told_with_its_line(old: str, new: str, words: str, tmp_path: Path) -> None:
    service = StrategyService(tmp_path)
    path, _ = service.create("mine", as_class=False)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InvalidInput, match=r"mine\.py") as refusal:
        service.choose("mine", {})
    assert words in refusal.value.message


def test_an_unsound_strategy_is_not_traded_with(tmp_path: Path) -> None:
    service = StrategyService(tmp_path)
    path, _ = service.create("mine", as_class=False)
    assert service.choose("mine", {"length": 10}).memory == 10
    path.write_text(path.read_text().replace('bars.close, values["length"])', "bars.close[..., ::-1], 5)[..., ::-1]"))
    with pytest.raises(InvalidInput, match="looks ahead: mean"):
        service.choose("mine", {})
