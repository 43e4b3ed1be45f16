"""make test-dashboards: a real Prometheus reads a running installation; every panel and rule is asked of it.

DASHBOARDS=1 runs it. The program `prometheus` is looked for on PATH, or is what PROMETHEUS names.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import yaml

from app.local.broker_server import free_port
from tests.processes.installation import SYMBOLS, installed

from . import asking

PROGRAM = os.environ.get("PROMETHEUS") or shutil.which("prometheus")
pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not os.environ.get("DASHBOARDS"), reason="only with DASHBOARDS=1 (make test-dashboards)"),
    pytest.mark.skipif(PROGRAM is None, reason="there is no prometheus on PATH, and PROMETHEUS names none"),
]
SCRAPE_SECONDS = 2


@contextmanager
def prometheus(directory: Path, api: int) -> Iterator[asking.Prometheus]:
    """A server with our rules that reads the API's page under the names that the stack's jobs have. All processes of `trader
    up` share that page, so that it is asked for once per service too."""
    port = free_port()
    services = ("celery_worker", "worker-learning", "worker-upkeep", "guard", "stream", "watchdog")
    target = f"127.0.0.1:{api}"
    jobs = [{"job_name": "api", "static_configs": [{"targets": [target]}]}] + [
        {
            "job_name": f"processes {name}",
            "static_configs": [{"targets": [target], "labels": {"service": name}}],
            # Only `up` is of interest here: the series are those of the API's page.
            "metric_relabel_configs": [{"action": "drop", "source_labels": ["__name__"], "regex": "alpha_trader.*|flask.*"}],
            "relabel_configs": [{"target_label": "job", "replacement": "processes"}],
        }
        for name in services
    ]
    seconds = f"{SCRAPE_SECONDS}s"
    limits = {"scrape_interval": seconds, "scrape_timeout": seconds, "evaluation_interval": seconds}
    configuration = {"global": limits, "rule_files": [str(asking.RULES)], "scrape_configs": jobs}
    (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    command = [str(PROGRAM), f"--config.file={directory / 'prometheus.yml'}", f"--storage.tsdb.path={directory / 'tsdb'}"]
    with (directory / "prometheus.log").open("w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
        try:
            yield asking.Prometheus(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait(30)


def test_every_panel_and_every_rule_is_answered(tmp_path: Path) -> None:
    forecasts = dict.fromkeys(SYMBOLS.split(), 0.02)  # so that there are orders to tell of
    with installed(tmp_path, "--speed", "60", forecasts=forecasts) as here, prometheus(tmp_path, here.port) as server:
        here.wait_until(lambda: here.cycles() >= 1, seconds=600)
        deadline = time.monotonic() + 600
        while True:
            requests.get(f"http://127.0.0.1:{here.port}/api/health", timeout=10)  # something for the panels of the API
            time.sleep(SCRAPE_SECONDS)
            missing = server.unanswered(asking.panels()) if here.cycles() >= 6 else ["cycles"]
            if not missing or time.monotonic() > deadline:
                break
        assert not missing
        assert server.unanswered(asking.selectors()) == []
        told = {rule["name"]: rule["health"] for rule in server.rules()}
        assert told == {rule.where: "ok" for rule in asking.rules()}
        for rule in asking.rules():
            server.ask(rule.text)
        print(f"{len(list(asking.panels()))} queries of panels, {len(told)} rules, {here.cycles()} cycles")
