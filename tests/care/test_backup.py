"""A backup of an installation that trades, restored into an empty one on either database: halted, equal, and able to go on."""

from __future__ import annotations

import json
import stat
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyrage
import pytest

from app.domain.errors import ConfigurationError, Conflict, InvalidInput
from app.domain.trading_state import TradingState
from app.runtime.clock import WallClock
from app.services.care.backup import BackupService, Place
from app.services.database_service import DatabaseService
from app.storage.archive import MANIFEST, new_identity, pack, unpack
from app.storage.database import Database
from app.storage.dump import tables
from tests.trading.conftest import exchange, ledger_database, served
from tests.trading.exchange import Exchange, build_system, scripted

__all__ = ["exchange", "ledger_database", "served"]


def service(database: DatabaseService, directory: Path) -> BackupService:
    places = {
        "models": Place(directory=directory / "models"),
        "state": Place(directory=directory, only=("risk_state.json", "answers")),
    }
    return BackupService(database, places=places, state_dir=directory, version="1.0", clock=WallClock())


def quiet(_: str) -> None:
    pass


@pytest.fixture
def other(empty_database_url: str) -> Iterator[DatabaseService]:
    """A new installation's database."""
    database = Database(empty_database_url)
    ledger = DatabaseService(database, WallClock())
    ledger.migrate()
    yield ledger
    database.close()


def rows(ledger: DatabaseService) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    ledger.dump(lambda name, lines: found.update({name: list(lines)}))
    return found


def grown(directory: Path) -> Path:
    """A model with its link to the current version, as training leaves it."""
    version = directory / "models" / "AAPL" / "versions" / "1"
    version.mkdir(parents=True)
    (version / "booster.txt").write_text("tree\n" * 1_000)
    (directory / "models" / "AAPL" / "current").symlink_to("versions/1")
    return directory


@pytest.mark.timeout(300)
def test_a_new_host_goes_on_halted_with_the_same_books(
    exchange: Exchange, ledger_database: DatabaseService, other: DatabaseService, tmp_path: Path
) -> None:
    old, new = grown(tmp_path / "old"), tmp_path / "new"
    forecaster = scripted(tmp_path, {"AAPL": 0.03, "MSFT": 0.02, "SPY": 0.001})
    before = build_system(exchange, ledger_database, old, forecaster=forecaster)
    before.cycles(3)
    held = ledger_database.portfolio().positions
    assert len(held) == 2
    public = new_identity(tmp_path / "key")
    path, manifest = service(ledger_database, old).write(tmp_path / "b", partial(pack, recipient=public), progress=quiet)
    assert manifest["rows"]["intents"] >= 2 and manifest["rows"]["bars"] > 1_000
    written = rows(ledger_database)
    exchange.step()  # the venue goes on meanwhile

    restored = service(other, new).restore(path, partial(unpack, identity=tmp_path / "key"), actor="tester", progress=quiet)
    assert restored == manifest
    again = rows(other)
    assert {name: again[name] for name in tables() if not name.startswith("audit_")} == {
        name: written[name] for name in tables() if not name.startswith("audit_")
    }
    assert again["audit_log"][: len(written["audit_log"])] == written["audit_log"]
    checked, head, fault = other.check_audit()
    assert fault is None and checked == head.seq == len(again["audit_log"])
    assert other.audited_book()[1] == ()
    assert (new / "models" / "AAPL" / "current" / "booster.txt").read_text() == "tree\n" * 1_000

    after = build_system(exchange, other, new, forecaster=forecaster)
    assert after.trading.reconcile().unexplained == ()
    after.cycles(1)
    state = other.risk_state()
    assert state is not None and state.trading_state is TradingState.HALTED
    assert {s: one.quantity for s, one in other.portfolio().positions.items()} == {s: one.quantity for s, one in held.items()}
    after.risk.resume("tester", "the books agree")
    numbered = len(other.fills())
    scripted(tmp_path, {"AAPL": -0.03, "MSFT": 0.02})
    after.cycles(2)
    assert len(other.fills()) > numbered  # new rows find free numbers, and orders go out again
    assert "AAPL" not in other.portfolio().positions


def test_nothing_is_overwritten(ledger: DatabaseService, tmp_path: Path) -> None:
    ledger.enqueue_alert("risk", "somebody was here")
    path, _ = service(ledger, tmp_path).write(tmp_path / "b", pack, progress=quiet)
    with pytest.raises(Conflict, match=r"not empty \(rows in outbox\)"):
        service(ledger, tmp_path).restore(path, unpack, actor="tester", progress=quiet)


def test_a_file_in_the_way_stops_a_restore_before_it_begins(
    ledger: DatabaseService, other: DatabaseService, tmp_path: Path
) -> None:
    old, new = grown(tmp_path / "old"), grown(tmp_path / "new")
    path, _ = service(ledger, old).write(tmp_path / "b", pack, progress=quiet)
    (new / "models" / "AAPL" / "versions" / "1" / "booster.txt").write_text("mine")
    with pytest.raises(Conflict, match=r"booster\.txt is there already; move it away"):
        service(other, new).restore(path, unpack, actor="tester", progress=quiet)
    assert not (new / "KILL").exists()
    other.require_empty()


def test_a_restore_that_broke_off_is_done_again(
    ledger: DatabaseService, other: DatabaseService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files first, then all rows in one transaction: whatever is left half done can be repeated."""
    ledger.enqueue_alert("risk", "somebody was here")
    path, _ = service(ledger, grown(tmp_path / "old")).write(tmp_path / "b", pack, progress=quiet)

    def breaks(line: str) -> None:
        if line.startswith("table outbox"):
            raise OSError("the power went")

    with pytest.raises(OSError, match="the power went"):
        service(other, tmp_path / "new").restore(path, unpack, actor="tester", progress=breaks)
    assert (tmp_path / "new" / "KILL").exists()
    other.require_empty()
    service(other, tmp_path / "new").restore(path, unpack, actor="tester", progress=quiet)
    assert [one.message for one in other.outbox_pending()] == ["somebody was here"]


def made(tmp_path: Path, **options: str) -> Path:
    parts = tmp_path / "parts"
    (parts / "files").mkdir(parents=True)
    (parts / "files" / "a.txt").write_text("a" * 10_000)
    pack(parts, {"format": 1}, tmp_path / "x.backup", **options)
    return tmp_path / "x.backup"


@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["cut", "flip"])
def test_damage_is_found(tmp_path: Path, kind: str, at: float) -> None:
    path = made(tmp_path, recipient=new_identity(tmp_path / "key"))
    content = bytearray(path.read_bytes())
    place = int(len(content) * at)
    if kind == "cut":
        del content[place:]
    else:
        content[place] ^= 1
    path.write_bytes(content)
    (tmp_path / "out").mkdir()
    with pytest.raises(InvalidInput):
        unpack(path, tmp_path / "out", identity=tmp_path / "key")


def test_a_changed_file_in_an_open_archive_is_found(tmp_path: Path) -> None:
    path = made(tmp_path)
    (tmp_path / "out").mkdir()
    unpack(path, tmp_path / "out")
    (tmp_path / "out" / "files" / "a.txt").write_text("b" * 10_000)
    with tarfile.open(tmp_path / "forged", "w:gz") as tar:
        with tarfile.open(path) as whole:
            whole.extract(MANIFEST, tmp_path / "out", filter="data")
        tar.add(tmp_path / "out" / MANIFEST, MANIFEST)
        tar.add(tmp_path / "out" / "files" / "a.txt", "files/a.txt")
    (tmp_path / "again").mkdir()
    with pytest.raises(InvalidInput, match="not what the manifest says"):
        unpack(tmp_path / "forged", tmp_path / "again")


@pytest.mark.parametrize(
    ("name", "links"),
    [("../outside", {}), ("/etc/outside", {}), ("files/a.txt", {"files/l": "../../outside"}), ("files/a.txt", {"../l": "x"})],
)
def test_nothing_leads_out_of_an_archive(tmp_path: Path, name: str, links: dict[str, str]) -> None:
    content = tmp_path / "content"
    content.write_text("x")
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    (tmp_path / MANIFEST).write_text(json.dumps({"format": 1, "files": {name: digest}, "links": links}))
    with tarfile.open(tmp_path / "forged", "w:gz") as tar:
        tar.add(tmp_path / MANIFEST, MANIFEST)
        member = tarfile.TarInfo(name)
        member.size = 1
        with content.open("rb") as file:
            tar.addfile(member, file)
    (tmp_path / "out" / "in").mkdir(parents=True)
    with pytest.raises(InvalidInput):
        unpack(tmp_path / "forged", tmp_path / "out" / "in")
    assert not (tmp_path / "out" / "outside").exists() and not (tmp_path / "out" / "l").is_symlink()


def test_keys_and_what_is_said_without_them(tmp_path: Path) -> None:
    public = new_identity(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    with pytest.raises(InvalidInput, match="exists; nothing was overwritten"):
        new_identity(tmp_path / "key")
    path = made(tmp_path, recipient=public)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (tmp_path / "out").mkdir()
    with pytest.raises(InvalidInput, match="encrypted; name the file"):
        unpack(path, tmp_path / "out")
    new_identity(tmp_path / "another")
    with pytest.raises(InvalidInput, match="cannot be decrypted with another"):
        unpack(path, tmp_path / "out", identity=tmp_path / "another")
    with pytest.raises(ConfigurationError, match="no age public key"):
        pack(tmp_path / "parts", {}, tmp_path / "y.backup", recipient="age1nonsense")
    # Any program that speaks age opens it.
    identity = pyrage.x25519.Identity.from_str((tmp_path / "key").read_text().split()[-1])
    assert pyrage.decrypt(path.read_bytes(), [identity])[:2] == b"\x1f\x8b"


def test_only_the_newest_stay(ledger: DatabaseService, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for day in range(1, 5):
        (tmp_path / "b" / f"alpha-trader-2020010{day}T000000Z.backup").write_text("old")
    path, _ = service(ledger, tmp_path).write(tmp_path / "b", pack, keep=2, progress=quiet)
    assert sorted(one.name for one in (tmp_path / "b").iterdir()) == ["alpha-trader-20200104T000000Z.backup", path.name]
