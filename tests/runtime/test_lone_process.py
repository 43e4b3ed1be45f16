"""Processes without a queue tell that they go round."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.runtime import log, lone_process, metrics


def test_each_round_of_the_loop_is_told_at_most_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    now = [0.0]
    monkeypatch.setattr(metrics, "observe_turn", told.append)
    monkeypatch.setattr(metrics, "serve", lambda port, address: told.append(f"serve {port}"))
    monkeypatch.setattr(log, "configure", lambda *_: None)
    monkeypatch.setattr(lone_process.signal, "signal", lambda *_: None)
    monkeypatch.setattr(lone_process, "time", SimpleNamespace(monotonic=lambda: now[0]))
    seen = []

    def work(ended: threading.Event) -> None:
        while not ended.is_set():
            ended.wait(0)
            seen.append(len(told))
            now[0] += 0.5
            if len(seen) == 5:
                ended.set()

    chosen = SimpleNamespace(state_dir=tmp_path, metrics_port=9101, api_host="127.0.0.1")
    assert lone_process.run_alone("guard", lambda: chosen, lambda _: work) == 0
    assert told == ["serve 9101", "guard", "guard", "guard"]
    assert seen == [2, 2, 3, 3, 4]
