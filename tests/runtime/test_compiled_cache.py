"""Compiled code never outlives what it was compiled from, wherever it is kept."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.compiled_cache import COMPILED_FROM, KEPT_DAYS, SETTING, digest

APP = Path(__file__).parents[2] / "app"
# Asks the rules, which have the exits inlined, about a price of 99 over a stop at 94.
QUESTION = """
from app.engine.rules.exits import HOLD, STOP, _hold
from app.risk.exits import Levels
from app.risk.limits import Policy
answer = _hold(0, False, True, 0, False, 99.0, 0.0, 0.0, 0.0, Levels(94.0, 120.0, 120.0), Policy())
print({HOLD: "hold", STOP: "stop"}[answer])
"""
WHERE = "import app, os; print(os.environ['NUMBA_CACHE_DIR'])"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what compiled code is made from; the directory to start Python in."""
    unwanted = shutil.ignore_patterns("__pycache__")
    for layer in COMPILED_FROM:
        shutil.copytree(APP / layer, tmp_path / "app" / layer, ignore=unwanted)
    for name in ("__init__.py", "compiled_cache.py"):
        shutil.copy2(APP / name, tmp_path / "app" / name)
    return tmp_path


def start(code: str, place: Path, **environment: str) -> subprocess.Popen[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", SETTING, "XDG_"))}
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=place, env=known | {"PYTHONPATH": str(place)} | environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def said(code: str, place: Path, **environment: str) -> tuple[str, str]:
    """What a new process writes, and what it complains about."""
    process = start(code, place, **environment)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.strip(), err.strip()


def widen_boundary(package: Path) -> None:
    """Changes the risk module alone: a price 10 % above its stop counts as having reached it."""
    module = package / "app/risk/exits.py"
    changed = re.sub(r"^BOUNDARY = \S+", "BOUNDARY = 0.1", module.read_text(), flags=re.MULTILINE)
    assert changed != module.read_text()
    module.write_text(changed)


def test_a_changed_limit_reaches_rules_that_were_compiled_before(copy: Path, tmp_path: Path) -> None:
    caches = tmp_path / "caches"
    assert said(QUESTION, copy, COMPILED_CACHE_DIR=str(caches)) == ("hold", "")
    (before,) = caches.iterdir()
    widen_boundary(copy)
    assert said(QUESTION, copy, COMPILED_CACHE_DIR=str(caches)) == ("stop", "")
    # The danger is real: numba itself, with the directory of before, goes on with the old limit.
    (copy / "app/__init__.py").write_text("")
    assert said(QUESTION, copy, NUMBA_CACHE_DIR=str(before)) == ("hold", "")


@pytest.mark.parametrize("layer", COMPILED_FROM)
def test_every_layer_decides_the_name(copy: Path, layer: str) -> None:
    module = next(path for path in sorted((copy / "app" / layer).rglob("*.py")) if path.stat().st_size)
    before = digest(copy / "app")
    assert digest(copy / "app") == before
    changed = module.stat().st_mtime_ns
    text = module.read_text()
    module.write_text(text.replace(text[0], "#", 1))  # as long as before
    os.utime(module, ns=(changed, changed))
    after = digest(copy / "app")
    module.write_text(text)
    os.utime(module, ns=(changed, changed + 1))
    assert len({before, after, digest(copy / "app")}) == 3


def imports_of(module: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(module.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


def test_everything_compiled_and_all_it_imports_decides_the_name() -> None:
    known = tuple(f"app.{layer}" for layer in COMPILED_FROM)
    for path in APP.rglob("*.py"):
        if path.relative_to(APP).parts[0] in COMPILED_FROM:
            assert all(name.startswith(known) for name in imports_of(path) if name.startswith("app.")), path
        elif "numba" in path.read_text():
            assert "numba" not in imports_of(path), f"{path}: its layer is not in COMPILED_FROM"


def test_several_processes_start_at_once(copy: Path, tmp_path: Path) -> None:
    starting = [start(WHERE, copy, COMPILED_CACHE_DIR=str(tmp_path / "caches")) for _ in range(4)]
    answers = {process.communicate(timeout=60) for process in starting}
    assert len(answers) == 1
    (where, complaint), *_ = answers
    assert Path(where.strip()).is_dir() and not complaint


def test_the_default_lies_in_the_cache_directory_of_the_user(copy: Path, tmp_path: Path) -> None:
    at_home, _ = said(WHERE, copy, HOME=str(tmp_path / "home"))
    chosen, _ = said(WHERE, copy, HOME=str(tmp_path / "home"), XDG_CACHE_HOME=str(tmp_path / "xdg"))
    assert Path(at_home).parent == tmp_path / "home/.cache/alpha-trader/compiled"
    assert Path(chosen).parent == tmp_path / "xdg/alpha-trader/compiled"
    assert not list((copy / "app").rglob("*.nb?"))


def test_where_nothing_can_be_written_a_temporary_directory_serves_and_that_is_said_once(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    child = f"{WHERE}; import subprocess, sys; subprocess.run([sys.executable, '-c', {WHERE!r}], check=True)"
    found, complaint = said(child, copy, COMPILED_CACHE_DIR=str(tmp_path / "file/caches"), TMPDIR=str(tmp_path))
    mine, of_child = found.splitlines()
    assert mine == of_child and Path(mine).is_dir() and Path(mine).is_relative_to(tmp_path)
    assert Path(mine).parent.stat().st_mode & 0o777 == 0o700
    assert complaint.count("\n") == 0 and SETTING in complaint


def test_a_temporary_directory_that_others_can_write_to_is_not_taken(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    laid_out = tmp_path / f"alpha-trader-{os.getuid()}"
    laid_out.mkdir()
    laid_out.chmod(0o777)
    found, _ = said(WHERE, copy, COMPILED_CACHE_DIR=str(tmp_path / "file/caches"), TMPDIR=str(tmp_path))
    assert not Path(found).is_relative_to(laid_out) and Path(found).is_relative_to(tmp_path)


def test_unused_directories_go_and_what_is_not_ours_stays(copy: Path, tmp_path: Path) -> None:
    caches = tmp_path / "caches"
    unused, used, foreign = caches / ("a" * 32), caches / ("b" * 32), caches / "letters"
    for directory in (unused, used, foreign):
        (directory / "engine").mkdir(parents=True)
    long_ago = time.time() - (KEPT_DAYS + 1) * 86_400
    for directory in (unused, foreign):
        os.utime(directory, (long_ago, long_ago))
    mine, _ = said(WHERE, copy, COMPILED_CACHE_DIR=str(caches))
    assert {path.name for path in caches.iterdir()} == {used.name, foreign.name, Path(mine).name}


def test_a_numba_that_was_there_first_follows(copy: Path, tmp_path: Path) -> None:
    code = "import numba; import app, os; print(numba.core.config.CACHE_DIR == os.environ['NUMBA_CACHE_DIR'])"
    assert said(code, copy, COMPILED_CACHE_DIR=str(tmp_path / "caches"))[0] == "True"
