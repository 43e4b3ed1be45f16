"""AIService and OptimizerService over real files: reasons instead of exceptions, no future, no contagion."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from app.domain.bar import BarSeries
from app.domain.errors import ConfigurationError, InvalidInput
from app.domain.forecast import Forecast, NoForecast
from app.learning.confidence import confidence
from app.learning.parameters import EnsembleParams
from app.learning.scripted import ScriptedForecaster
from app.learning.training import train_symbol
from app.services.ai_service import AIService
from app.services.optimizer_service import OptimizerService
from app.storage.model_files import ModelFiles
from app.storage.param_files import ParamFiles
from tests.learning.series import random_walk, when_known

QUICK = EnsembleParams(rounds=5, learning_rate=0.1, min_leaf_rows=20, l2=5.0)
BARS = {symbol: random_walk(440, symbol=symbol, seed=seed) for seed, symbol in enumerate(("AAPL", "BTC/USD", "MSFT"))}
AT = when_known(BARS["AAPL"], 419)
FLOATS = ("open", "high", "low", "close", "volume")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trained")
    for series in BARS.values():
        ModelFiles(root / "models").publish(train_symbol(series, QUICK, trained_at=AT))
    return root


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "work", symlinks=True)


def service(root: Path) -> AIService:
    return AIService(ModelFiles(root / "models"), ParamFiles(root / "params"), workers=2)


def ignore(done: int, total: int, symbol: str) -> None:
    """Progress that nobody watches."""


def after(bars: BarSeries, index: int, factor: float) -> BarSeries:
    """`bars` with every number from `index` on multiplied."""
    scale = np.where(np.arange(len(bars)) >= index, factor, 1.0)
    return replace(bars, **{name: getattr(bars, name) * scale for name in FLOATS})


def test_a_forecast_says_what_its_members_said(root: Path) -> None:
    answers = service(root).forecast(BARS, AT)
    assert list(answers) == list(BARS)
    for symbol, answer in answers.items():
        assert isinstance(answer, Forecast)
        assert len(answer.members) >= 6
        assert answer.daily_return == pytest.approx(np.mean(answer.members))
        assert answer.confidence == confidence(np.array(answer.members))
        assert answer.last_close == BARS[symbol].close[419]
        assert answer.last_close_at == AT
        assert answer.model == ModelFiles(root / "models").version(symbol)


@pytest.mark.parametrize("factor", [3.0, np.nan])
def test_bars_after_the_forecast_change_nothing(root: Path, factor: float) -> None:
    changed = {symbol: after(series, 420, factor) for symbol, series in BARS.items()}
    truncated = {symbol: series.slice(0, 420) for symbol, series in BARS.items()}
    a_moment_later = AT + timedelta(hours=17)
    expected = service(root).forecast(BARS, AT)
    for bars in (changed, truncated):
        assert service(root).forecast(bars, AT) == expected == service(root).forecast(bars, a_moment_later)


def test_a_symbol_gets_the_same_answer_alone_and_in_company(root: Path) -> None:
    together = service(root).forecast(BARS, AT)
    for symbol, series in BARS.items():
        assert service(root).forecast({symbol: series}, AT)[symbol] == together[symbol]


@pytest.mark.row("H01")
def test_every_fault_is_a_reason_and_stays_with_its_symbol(root: Path) -> None:
    sound = service(root).forecast(BARS, AT)["MSFT"]
    (root / "models" / "AAPL" / "current" / "lightgbm-1.txt").write_text("tree")
    bars = {
        **BARS,
        "BTC/USD": after(BARS["BTC/USD"], 400, np.nan),
        "NKE": replace(BARS["AAPL"], symbol="NKE"),
        "NEW": replace(BARS["AAPL"].slice(310, 420), symbol="NEW"),
        "VOID": replace(BARS["AAPL"].slice(0, 0), symbol="VOID"),
        "../..": replace(BARS["AAPL"], symbol="../.."),
    }
    answers = service(root).forecast(bars, AT)
    assert answers["MSFT"] == sound
    codes = {symbol: answer.code for symbol, answer in answers.items() if isinstance(answer, NoForecast)}
    assert codes == {
        "AAPL": "model_corrupt",
        "BTC/USD": "not_finite",
        "NKE": "model_missing",
        "NEW": "too_few_bars",
        "VOID": "too_few_bars",
        "../..": "model_missing",
    }
    assert service(root).forecast({}, AT) == {}


def test_a_model_that_knows_the_future_is_refused(root: Path) -> None:
    ai = service(root)
    assert isinstance(ai.forecast(BARS, AT)["AAPL"], Forecast)
    for answer in ai.forecast(BARS, AT - timedelta(seconds=1)).values():
        assert isinstance(answer, NoForecast)
        assert answer.code == "model_from_future"


def test_a_model_published_anew_is_used_at_once_and_a_removed_one_no_more(root: Path) -> None:
    ai = service(root)
    before = ai.forecast(BARS, AT)
    ModelFiles(root / "models").publish(train_symbol(BARS["AAPL"], QUICK, trained_at=AT, seed=99))
    fresh = ai.forecast(BARS, AT)
    assert fresh["AAPL"] != before["AAPL"]
    assert fresh["MSFT"] == before["MSFT"]
    shutil.rmtree(root / "models" / "AAPL")
    gone = ai.forecast(BARS, AT)["AAPL"]
    assert isinstance(gone, NoForecast)
    assert gone.code == "model_missing"


def test_training_reports_every_symbol_and_keeps_what_it_cannot_better(root: Path) -> None:
    ai = service(root)
    ParamFiles(root / "params").save(
        OptimizerService(ParamFiles(root / "params"), workers=1)
        .tune({"MSFT": BARS["MSFT"]}, at=AT, trials=1, progress=ignore)[0]
        .tuned  # type: ignore[arg-type]
    )
    bars = {**BARS, "BTC/USD": BARS["BTC/USD"].slice(0, 300)}
    kept = ModelFiles(root / "models").version("BTC/USD")
    calls: list[tuple[int, int, str]] = []
    reports = ai.train_batch(bars, at=AT, progress=lambda *call: calls.append(call))
    assert [report.symbol for report in reports] == list(bars)
    assert [(done, total) for done, total, _ in calls] == [(1, 3), (2, 3), (3, 3)]
    assert {symbol for _, _, symbol in calls} == set(bars)
    apple, bitcoin, microsoft = reports
    assert (apple.trained, apple.params_source, apple.trained_through) == (True, "default", AT)
    assert (microsoft.trained, microsoft.params_source) == (True, "tuned")
    assert not bitcoin.trained
    assert "needs 400" in (bitcoin.reason or "")
    assert ModelFiles(root / "models").version("BTC/USD") == kept
    states = {state.symbol: state for state in ai.status()}
    assert all(state.usable and state.scores for state in states.values())
    assert states["AAPL"].scores == apple.scores
    assert states["AAPL"].version == apple.version


def test_status_names_what_is_wrong(root: Path) -> None:
    (root / "models" / "MSFT" / "current" / "manifest.json").unlink()
    (root / "models" / "EMPTY").mkdir()
    (root / "models" / "not a symbol").mkdir()
    states = {state.symbol: (state.usable, state.code) for state in service(root).status()}
    assert states == {
        "AAPL": (True, None),
        "BTC/USD": (True, None),
        "EMPTY": (False, "model_missing"),
        "MSFT": (False, "model_corrupt"),
    }


def test_tuning_reports_every_symbol(tmp_path: Path) -> None:
    store = ParamFiles(tmp_path)
    optimizer = OptimizerService(store, workers=2)
    calls: list[tuple[int, int, str]] = []
    bars = {"AAPL": BARS["AAPL"], "NEW": replace(BARS["MSFT"].slice(0, 200), symbol="NEW")}
    apple, new = optimizer.tune(bars, at=AT, trials=2, progress=lambda *call: calls.append(call))
    assert apple.tuned is not None
    assert store.load("AAPL") == apple.tuned
    assert store.choose("AAPL", at=AT).source == "tuned"
    assert (new.tuned, store.load("NEW")) == (None, None)
    assert "needs 400" in (new.reason or "")
    assert sorted(calls)[-1][:2] == (2, 2)
    with pytest.raises(InvalidInput):
        optimizer.tune(bars, at=AT, trials=0, progress=ignore)


SCRIPT = "symbol,expected_return,confidence,from\nAAPL,0.02,0.9,\nAAPL,-0.03,0.8,{later}\nMSFT,0.001,0.1,\n"


def test_a_script_is_followed_in_time(tmp_path: Path) -> None:
    later = AT + timedelta(days=2)
    path = tmp_path / "forecasts.csv"
    path.write_text(SCRIPT.format(later=later.isoformat()))
    scripted = ScriptedForecaster(path)
    now, then = scripted.forecast(BARS, AT), scripted.forecast(BARS, later)
    assert isinstance(now["AAPL"], Forecast)
    assert isinstance(then["AAPL"], Forecast)
    assert (now["AAPL"].daily_return, now["AAPL"].confidence, now["AAPL"].last_close) == (0.02, 0.9, BARS["AAPL"].close[419])
    assert (then["AAPL"].daily_return, then["AAPL"].confidence) == (-0.03, 0.8)
    missing = now["BTC/USD"]
    assert isinstance(missing, NoForecast)
    assert missing.code == "not_scripted"


def test_a_script_may_be_json_and_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "forecasts.json"
    path.write_text('[{"symbol": "aapl", "expected_return": 0.01, "confidence": 1, "from": "2001-01-01"}]')
    scripted = ScriptedForecaster(path)

    def answer() -> object:
        found = scripted.forecast({"AAPL": BARS["AAPL"]}, AT)["AAPL"]
        return found.daily_return if isinstance(found, Forecast) else found.detail

    assert answer() == 0.01
    path.write_text('[{"symbol": "AAPL", "expected_return": 0.025, "confidence": 0.5}]')
    assert answer() == 0.025
    path.write_text('[{"symbol": "AAPL"')
    assert "line 1" in str(answer())
    path.unlink()
    assert "cannot be read" in str(answer())
    path.write_text('[{"symbol": "AAPL", "expected_return": 0.03, "confidence": 0.5}]')
    assert answer() == 0.03


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "line 1"),
        ("symbol,confidence\n", "line 1"),
        ("symbol,expected_return,confidence,expected_return\n", "line 1"),
        ("symbol,expected_return,confidence\nAAPL,0.1,0.5\nMSFT,much,0.5\n", "line 3: expected_return"),
        ("symbol,expected_return,confidence\nAAPL,nan,0.5\n", "line 2: expected_return"),
        ("symbol,expected_return,confidence\nAAPL,0.1,1.2\n", "line 2: confidence"),
        ("symbol,expected_return,confidence\nAAPL,0.1\n", "line 2: confidence"),
        ("symbol,expected_return,confidence\nAAPL,0.1,0.5,9\n", "line 2"),
        ("symbol,expected_return,confidence\n,0.1,0.5\n", "line 2: symbol"),
        ("symbol,expected_return,confidence,from\nAAPL,0.1,0.5,soon\n", "line 2: from"),
        ("symbol,expected_return,confidence\nAAPL,0.1,0.5\nAAPL,0.2,0.5\n", "line 3"),
    ],
)
def test_a_malformed_script_names_its_line(tmp_path: Path, text: str, where: str) -> None:
    path = tmp_path / "forecasts.csv"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=where):
        ScriptedForecaster(path)


def test_a_script_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing\.csv"):
        ScriptedForecaster(tmp_path / "nothing.csv")


def test_instants_without_a_zone_are_utc(tmp_path: Path) -> None:
    path = tmp_path / "forecasts.csv"
    path.write_text("symbol,expected_return,confidence,from\nAAPL,0.1,0.5,2012-06-01T12:00\n")
    scripted = ScriptedForecaster(path)
    bars = {"AAPL": BARS["AAPL"]}
    assert isinstance(scripted.forecast(bars, datetime(2012, 6, 1, 11, 59, tzinfo=UTC))["AAPL"], NoForecast)
    assert isinstance(scripted.forecast(bars, datetime(2012, 6, 1, 12, 0, tzinfo=UTC))["AAPL"], Forecast)
