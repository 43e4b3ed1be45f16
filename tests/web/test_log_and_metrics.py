"""Logs: one JSON object a line, with ids, without secrets. Metrics: what one process saw, another shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.runtime import metrics
from app.runtime.redaction import HIDDEN, Redactor

from .fakes import record

ROOT = Path(__file__).parents[2]

LOGGING = r"""
import logging, sys, warnings
import structlog
from app.config import Settings
from app.runtime import log
settings = Settings(
    _env_file=None, secret_key="canary-signing-key-0123456789abcdefghij", alpaca_api_secret="canary-alpaca-secret",
    discord_webhook_url="https://discord.com/api/webhooks/123456/canary-webhook-token", logs_dir=sys.argv[1], log_level="DEBUG")
log.configure(settings, "probe", to_file=True)
logger = structlog.get_logger("trading")
with log.bound(cycle_id="c-1", client_order_id="at-aapl-1"):
    logger.info("sent", quantity=10)
logger.info("forged\n2026-01-01 CRITICAL \x1b[31m \u2028", password="canary-password-1", nested={"api_key": "canary-key-1"})
logging.getLogger("gunicorn.error").warning("key %s", "canary-alpaca-secret")
logging.getLogger("urllib3").debug("canary-quiet")
try:
    raise ValueError("refused: canary-signing-key-0123456789abcdefghij at https://discord.com/api/webhooks/123456/canary-webhook-token")
except ValueError:
    logger.exception("failed", settings=settings, url="redis://:canary-redis-pass@host:1/0", header="Bearer canary-bearer-123")
warnings.warn("odd")
"""


def run(code: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )
    return done.stdout


def test_log_lines(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in run(LOGGING, str(tmp_path)).splitlines()]
    filed = (tmp_path / "probe.jsonl").read_text()
    assert [json.loads(line)["event"] for line in filed.splitlines()] == [line["event"] for line in lines]
    assert lines[0]["event"] == "sent"
    assert (lines[0]["cycle_id"], lines[0]["client_order_id"], lines[0]["quantity"]) == ("c-1", "at-aapl-1", 10)
    assert "cycle_id" not in lines[1]
    assert all(line["role"] == "probe" and line["timestamp"].endswith("Z") and line["level"] for line in lines)
    assert lines[2]["logger"] == "gunicorn.error"
    assert "ValueError" in lines[3]["exception"]
    assert "odd" in lines[4]["event"]
    assert "canary" not in filed


SECRET_TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40)


@pytest.mark.row("J04")
@given(SECRET_TEXT, st.text(max_size=20), st.text(max_size=20))
def test_a_known_secret_never_comes_through(secret: str, before: str, after: str) -> None:
    cleaned = Redactor([secret]).value({"note": [before + secret + after], "deep": {"a": ({"b": secret},)}})
    assert secret not in cleaned["note"][0].replace(HIDDEN, "")
    assert secret not in json.dumps(cleaned["deep"], ensure_ascii=False).replace(HIDDEN, "") or secret in '{"a": [{"b": ""}]}'


def test_harmless_words_stay() -> None:
    value = {"event": "filled 10 AAPL at 190.25", "url": "http://127.0.0.1:5801/v2/orders?after=1", "token_type": "Bearer"}
    assert Redactor(["password"]).value(value | {"count": 3}) == value | {"count": 3}


def test_observations_show_on_the_page() -> None:
    before = _sample("alpha_trader_fills_total", '{side="buy"}')
    from app.domain.order import Side

    metrics.observe_fill(Side.BUY, 1902.5)
    metrics.observe_cycle("completed", 0.4, finished_at=1.0)
    metrics.observe_portfolio("simulated", equity=100_025.95, daily_return=-0.001, positions=2)
    metrics.observe_decisions([record(), record("MSFT", confidence=float("nan"))])
    metrics.observe_task("train", "done", 12.0)
    metrics.observe_venue_call("account", "ok", 0.01)
    assert _sample("alpha_trader_fills_total", '{side="buy"}') == before + 1
    assert _sample("alpha_trader_portfolio_value_usd", '{mode="simulated"}') == 100_025.95
    assert _sample("alpha_trader_decisions_total", '{reason="buy_signal"}') >= 2
    assert _sample("alpha_trader_signal_confidence_count") >= 1


SHARED = """
import os
from app.runtime import metrics
for number in range(2):
    if os.fork() == 0:
        metrics.observe_cycle("completed", 0.5)
        metrics.observe_portfolio("simulated", equity=float(100 + number))
        os._exit(0)
    os.wait()
print(metrics.render()[0].decode())
"""


def test_one_page_for_several_processes(tmp_path: Path) -> None:
    page = run(SHARED, PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "shared"))
    assert 'alpha_trader_cycles_total{outcome="completed"} 2.0' in page
    assert 'alpha_trader_portfolio_value_usd{mode="simulated"} 101.0' in page


def test_every_panel_shows_a_metric_that_exists(anyone: Any) -> None:
    import re

    anyone.get("/api/health")
    page = anyone.get("/metrics").text
    known = set(re.findall(r"^# TYPE (\S+)", page, re.MULTILINE))
    known |= {f"{name}{suffix}" for name in known for suffix in ("_bucket", "_sum", "_count")}
    board = json.loads((ROOT / "grafana/dashboards/overview.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            for name in re.findall(r"(?:alpha_trader|flask)_\w+", target["expr"]):
                assert name in known, f"{panel['title']}: {name}"


def _sample(name: str, labels: str = "") -> float:
    for line in metrics.render()[0].decode().splitlines():
        if line.startswith(f"{name}{labels} "):
            return float(line.split()[-1])
    return 0.0
