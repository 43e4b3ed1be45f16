"""Stored models: published whole, refused when a single bit is not what was published, never executed."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import shutil
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.errors import InvalidInput
from app.learning.model import ModelRefused, TrainedModel, TunedParams
from app.learning.parameters import DEFAULT_PARAMS, EnsembleParams
from app.learning.training import train_symbol
from app.storage.model_files import ModelFiles
from app.storage.param_files import ParamFiles
from tests.learning.series import random_walk, when_known

BARS = random_walk(420)
AT = when_known(BARS, -1)
QUICK = EnsembleParams(rounds=5, learning_rate=0.1, min_leaf_rows=20, l2=5.0)


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return train_symbol(BARS, QUICK, trained_at=AT)


@pytest.fixture(scope="module")
def pristine(model: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pristine")
    ModelFiles(root).publish(model)
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / "models", symlinks=True)


def current(root: Path, symbol: str = "AAPL") -> Path:
    return root / symbol / "current"


def refusal(root: Path, symbol: str = "AAPL") -> str:
    with pytest.raises(ModelRefused) as refused:
        ModelFiles(root).load(symbol)
    assert refused.value.detail
    assert str(root) not in refused.value.detail
    return refused.value.code


def republish(root: Path, **changes: object) -> None:
    """Write a manifest with `changes` under the name that its own digest asks for: a consistent forgery."""
    place = current(root).resolve()
    manifest = json.loads((place / "manifest.json").read_text()) | changes
    content = json.dumps(manifest).encode()
    (place / "manifest.json").write_bytes(content)
    fresh = place.with_name(f"{place.name[:17]}{hashlib.sha256(content).hexdigest()[:32]}")
    place.rename(fresh)
    current(root).unlink()
    current(root).symlink_to(Path("versions") / fresh.name)


def test_what_is_published_is_what_is_loaded(root: Path, model: TrainedModel) -> None:
    store = ModelFiles(root)
    found = store.load("AAPL")
    assert found.model == model
    assert found.version == store.version("AAPL")
    assert store.symbols() == ["AAPL"]


def test_no_file_is_anything_but_text_json_or_booster(root: Path) -> None:
    names = sorted(path.name for path in current(root).iterdir())
    assert all(re.fullmatch(r"manifest\.json|lightgbm-\d\.txt|xgboost-\d\.ubj", name) for name in names)
    assert len(names) == 7


@pytest.mark.row("H02")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.integers(0, 6), where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_any_changed_byte_is_refused(root: Path, which: int, where: float, flip: int) -> None:
    path = sorted(current(root).iterdir())[which]
    sound = path.read_bytes()
    broken = bytearray(sound)
    broken[int(where * len(broken))] ^= flip
    path.write_bytes(broken)
    assert refusal(root) == "model_corrupt"
    path.write_bytes(sound)
    ModelFiles(root).load("AAPL")


@pytest.mark.row("H02")
@pytest.mark.parametrize("name", ["manifest.json", "lightgbm-0.txt", "xgboost-5.ubj"])
def test_truncated_emptied_or_missing_files_are_refused(root: Path, name: str) -> None:
    path = current(root) / name
    sound = path.read_bytes()
    for part in (sound[:-1], sound[: len(sound) // 2], b""):
        path.write_bytes(part)
        assert refusal(root) == "model_corrupt"
    path.unlink()
    assert refusal(root) == "model_corrupt"
    path.mkdir()
    assert refusal(root) == "model_corrupt"


class Canary:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)  # type: ignore[return-value]


@pytest.mark.row("H03")
@pytest.mark.parametrize("name", ["model.pkl", "lightgbm-6.txt", ".hidden", "manifest.json", "lightgbm-0.txt"])
def test_a_pickle_is_refused_and_not_opened(root: Path, tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    (current(root) / name).write_bytes(pickle.dumps(Canary(canary)))
    assert refusal(root) in {"model_foreign", "model_corrupt"}
    assert not canary.exists()


def test_a_model_of_another_symbol_is_refused(root: Path) -> None:
    shutil.copytree(root / "AAPL", root / "MSFT", symlinks=True)
    assert refusal(root, "MSFT") == "model_foreign"
    ModelFiles(root).load("AAPL")


@pytest.mark.row("H04")
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"format": 2}, "model_incompatible"),
        ({"feature_names": ["return_1"]}, "model_incompatible"),
        ({"symbol": "MSFT"}, "model_foreign"),
        ({"params": {"rounds": 10**9}}, "model_corrupt"),
        ({"files": []}, "model_corrupt"),
        ({"rows": 0}, "model_corrupt"),
        ({"trained_through": "yesterday"}, "model_corrupt"),
        ({"surprise": 1}, "model_corrupt"),
    ],
)
def test_a_consistent_but_unfit_manifest_is_refused(root: Path, changes: dict[str, object], code: str) -> None:
    republish(root, **changes)
    assert refusal(root) == code


@pytest.mark.parametrize("name", ["../../../secret", "/etc/passwd", "lightgbm-0.txt/../../x", "lightgbm-0.pkl"])
def test_a_manifest_cannot_lead_elsewhere(root: Path, name: str) -> None:
    files = json.loads((current(root) / "manifest.json").read_text())["files"]
    files[0]["name"] = name
    republish(root, files=files)
    assert refusal(root) == "model_corrupt"


def test_links_are_not_followed_out_of_the_version(root: Path, tmp_path: Path) -> None:
    path = current(root) / "xgboost-3.ubj"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert refusal(root) == "model_corrupt"
    place = current(root).resolve()
    current(root).unlink()
    current(root).symlink_to(place)
    assert refusal(root) == "model_foreign"


@pytest.mark.parametrize(
    "symbol", ["../AAPL", "..", ".", "", "/etc/passwd", "A" * 13, "aapl", "A\x00B", "A B", "%2e%2e", "A\\B"]
)
def test_no_symbol_leads_out_of_the_folder(root: Path, model: TrainedModel, symbol: str) -> None:
    store = ModelFiles(root)
    for call in (store.load, store.version, lambda s: store.publish(replace(model, symbol=s))):
        with pytest.raises(InvalidInput):
            call(symbol)
    with pytest.raises(InvalidInput):
        ParamFiles(root).load(symbol)
    assert sorted(path.name for path in root.iterdir()) == ["AAPL"]


@pytest.mark.parametrize("symbol", ["BRK.B", "BTC/USD", "BTC-USD", "A/..", "0700.HK"])
def test_symbols_of_every_venue_have_their_own_directory(tmp_path: Path, model: TrainedModel, symbol: str) -> None:
    store = ModelFiles(tmp_path)
    store.publish(replace(model, symbol=symbol))
    assert store.load(symbol).model.symbol == symbol
    assert store.symbols() == [symbol]
    assert len(list(tmp_path.iterdir())) == 1


def test_the_previous_version_is_kept_and_older_ones_go(root: Path, model: TrainedModel) -> None:
    store = ModelFiles(root)
    published = [store.version("AAPL")]
    for day in (1, 2, 3):
        published.append(store.publish(replace(model, trained_at=AT + timedelta(days=day))))
    assert len(set(published)) == 4
    assert store.version("AAPL") == published[-1]
    assert sorted(path.name for path in (root / "AAPL" / "versions").iterdir()) == sorted(published[-2:])
    assert store.publish(replace(model, trained_at=AT + timedelta(days=3))) == published[-1]
    assert store.load("AAPL").version == published[-1]


@pytest.mark.row("H07")
def test_a_publication_that_died_half_way_changes_nothing(root: Path, model: TrainedModel) -> None:
    before = ModelFiles(root).load("AAPL")
    left_over = root / "AAPL" / ".writing-abc"
    left_over.mkdir()
    (left_over / "lightgbm-0.txt").write_text("half")
    assert ModelFiles(root).load("AAPL") == before
    ModelFiles(root).publish(replace(model, seed=9))
    assert not left_over.exists()


@pytest.mark.row("H07")
def test_readers_always_see_a_whole_version(root: Path, model: TrainedModel) -> None:
    store, stop, faults = ModelFiles(root), threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            try:
                store.load("AAPL")
            except Exception as fault:  # noqa: BLE001 - any fault at all is one too many
                faults.append(repr(fault))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for seed in range(15):
        store.publish(replace(model, seed=seed))
    stop.set()
    for reader in readers:
        reader.join(10)
    assert faults == []


def test_no_model_is_a_reason_too(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent") == "model_missing"
    assert ModelFiles(tmp_path / "absent").symbols() == []


TUNED = TunedParams(
    symbol="AAPL", params=replace(DEFAULT_PARAMS, rounds=33), tuned_through=AT, loss=0.99, default_loss=1.0, trials=5
)


def test_tuned_parameters_come_back_and_know_their_time(tmp_path: Path) -> None:
    store = ParamFiles(tmp_path)
    assert store.choose("AAPL", at=AT).source == "default"
    store.save(TUNED)
    store.save(TUNED)
    assert store.load("AAPL") == TUNED
    assert store.choose("AAPL", at=AT).params == TUNED.params
    earlier = store.choose("AAPL", at=AT - timedelta(seconds=1))
    assert (earlier.params, earlier.source) == (DEFAULT_PARAMS, "default")
    assert "future" in (earlier.reason or "")
    assert [path.name for path in tmp_path.iterdir()] == ["AAPL.json"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"rounds": 33', '"rounds": 33333'),
        ('"rounds": 33', '"rounds": "many"'),
        ('"loss": 0.99', '"loss": -1'),
        ('"symbol": "AAPL"', '"symbol": "MSFT"'),
        ('"format": 1', '"format": 7'),
        ('"trials": 5', '"trials": 5, "extra": 1'),
        ("{", "["),
    ],
)
def test_unsound_parameters_leave_the_defaults_and_a_reason(tmp_path: Path, before: str, after: str) -> None:
    store = ParamFiles(tmp_path)
    store.save(TUNED)
    path = tmp_path / "AAPL.json"
    text = path.read_text().replace('":', '": ').replace('":  ', '": ')
    assert before in text
    path.write_text(text.replace(before, after, 1))
    choice = store.choose("AAPL", at=AT)
    assert choice.params == DEFAULT_PARAMS
    assert "AAPL.json" in (choice.reason or "")
    assert str(tmp_path) not in (choice.reason or "")
