"""`trader init`: made once, for the owner's eyes only, and never overwritten."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from sqlalchemy import make_url
from typer.testing import CliRunner

from app.cli import cli
from app.commands import init
from app.config import Settings
from app.domain.errors import ConfigurationError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    shutil.copyfile(ROOT / ".env.example", tmp_path / ".env.example")
    return tmp_path


def contents(place: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in [*(place / "secrets").iterdir(), place / ".env"]}


def test_everything_is_made_and_only_the_owner_can_read_it(place: Path) -> None:
    made = init.make_files(place)
    assert {path.name for path in made} == {*init.FILES, ".env"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}
    assert stat.S_IMODE((place / "secrets").stat().st_mode) == 0o700
    assert init.loose_files(place) == []
    assert sorted(path.name for path in place.iterdir()) == [".env", ".env.example", "secrets"]


def test_what_is_made_starts_the_product(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the containers read it: behind an address that is open, where defaults are refused."""
    init.make_files(place)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    chosen = Settings(_env_file=place / ".env", _secrets_dir=place / "secrets", api_host="0.0.0.0")
    held = contents(place)
    assert chosen.secret_key.get_secret_value() == held["secret_key"].strip()
    assert chosen.admin_password.get_secret_value() == held["admin_password"].strip()
    assert make_url(chosen.database_url).password == held["postgres_password"].strip()
    assert make_url(chosen.redis_url).password == held["redis_password"].strip()
    assert chosen.celery_broker_url == chosen.redis_url
    uid = os.getuid() or init.CONTAINER_USER
    assert f"\nTRADER_UID={uid}\n" in held[".env"]


def test_two_installations_share_no_secret(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        shutil.copyfile(ROOT / ".env.example", tmp_path / name / ".env.example")
        init.make_files(tmp_path / name)
        found.append(contents(tmp_path / name))
    assert not {value for name, value in found[0].items() if name != ".env"} & set(found[1].values())
    assert len({*found[0].values()}) == len(found[0])
    assert all(len(value) >= 20 for name, value in found[0].items())


@pytest.mark.parametrize("missing", [*init.FILES, ".env"])
def test_nothing_is_overwritten_and_what_is_missing_fits_the_rest(place: Path, missing: str) -> None:
    init.make_files(place)
    before = contents(place)
    lost = place / missing if missing == ".env" else place / "secrets" / missing
    lost.unlink()
    assert init.make_files(place) == [lost]
    after = contents(place)
    same = {name for name in before if before[name] == after[name]}
    # What is derived comes out as it was; what is random is made anew.
    assert set(before) - same <= {missing}
    assert (missing in same) is (missing in {"redis_url", "database_url", ".env"})
    assert init.make_files(place) == []


def test_a_setting_of_ones_own_is_kept(place: Path) -> None:
    (place / ".env").write_text("TRADING_MODE=paper\n")
    (place / ".env").chmod(0o600)
    init.make_files(place)
    assert (place / ".env").read_text() == "TRADING_MODE=paper\n"
    told = init.loose_files(place)
    assert len(told) == (0 if os.getuid() in {0, init.CONTAINER_USER} else 1)


def test_files_that_others_can_read_or_that_are_empty_are_called_out_with_the_remedy(place: Path) -> None:
    init.make_files(place)
    (place / "secrets/secret_key").chmod(0o644)
    (place / "secrets/flower_basic_auth").write_text("")
    answer = CliRunner().invoke(cli, ["init", str(place)])
    assert answer.exit_code == 0
    said = answer.output.replace("\n", " ")
    assert "chmod 600" in said
    assert "flower_basic_auth is empty" in said
    for name in set(init.FILES) - {"flower_basic_auth"}:
        assert (place / "secrets" / name).read_text().strip() not in answer.output


def test_the_wrong_directory_is_refused_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="docker-compose"):
        init.make_files(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_said(place: Path) -> None:
    (place / "secrets").write_text("a file")
    with pytest.raises(ConfigurationError, match="secrets"):
        init.make_files(place)
    assert not (place / ".env").exists()
