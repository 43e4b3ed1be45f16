"""The operations files agree with each other and with what the requirements name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.config import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


def test_the_required_services_and_ports_are_there() -> None:
    assert {"flask", "celery_worker", "celery_beat", "redis", "prometheus", "grafana", "flower"} <= set(SERVICES)
    assert SERVICES["flask"]["container_name"] == "alpha-trader-flask"
    ports = {name: [port.split(":")[-1] for port in service.get("ports", ())] for name, service in SERVICES.items()}
    assert {name: listed for name, listed in ports.items() if listed} == {
        "flask": ["5000"],
        "prometheus": ["9090"],
        "grafana": ["3000"],
        "flower": ["5555"],
    }
    assert all(port.startswith("127.0.0.1:") for service in SERVICES.values() for port in service.get("ports", ()))


def test_every_queue_has_a_worker() -> None:
    consumed = re.findall(r"-Q (\S+)", " ".join(str(service.get("command")) for service in SERVICES.values()))
    assert sorted(queue for queues in consumed for queue in queues.split(",")) == ["backtests", "learning", "trading", "upkeep"]


def test_prometheus_asks_services_that_exist_on_the_ports_they_serve() -> None:
    config = yaml.safe_load((ROOT / "prometheus.yml").read_text())
    targets = [t for job in config["scrape_configs"] for entry in job["static_configs"] for t in entry["targets"]]
    for name, port in (target.split(":") for target in targets):
        if name in {"localhost", "flask"}:
            continue
        assert SERVICES[name]["environment"]["METRICS_PORT"] == port


def test_every_volume_is_declared_and_every_build_target_exists() -> None:
    stages = set(re.findall(r"(?m)^FROM \S+ AS (\S+)", (ROOT / "Dockerfile").read_text()))
    for service in SERVICES.values():
        if "build" in service:
            assert service["build"]["target"] in stages
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / source).exists(), volume


def test_the_example_environment_names_only_settings_and_holds_no_secrets() -> None:
    pairs = dict(line.split("=", 1) for line in (ROOT / ".env.example").read_text().splitlines() if re.match(r"[A-Z]", line))
    compose_only = {"COMPOSE_PROFILES", "GRAFANA_ADMIN_PASSWORD", "FLOWER_BASIC_AUTH"}
    assert {name.lower() for name in pairs.keys() - compose_only} <= set(Settings.model_fields)
    required = {"ALPACA_API_KEY", "ALPACA_API_SECRET", "ALPACA_PAPER", "DISCORD_WEBHOOK_URL", "SECRET_KEY", "REDIS_URL"}
    assert required <= set(pairs)
    assert pairs["ALPACA_PAPER"] == "True"
    for name in (
        "ALPACA_API_KEY",
        "ALPACA_API_SECRET",
        "SECRET_KEY",
        "ADMIN_PASSWORD",
        "GRAFANA_ADMIN_PASSWORD",
        "FLOWER_BASIC_AUTH",
    ):
        assert not pairs[name]
    Settings(_env_file=ROOT / ".env.example")


def test_every_variable_of_the_compose_file_is_in_the_example_or_has_a_default() -> None:
    example = (ROOT / ".env.example").read_text()
    for name in re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text()):
        assert re.search(rf"(?m)^{name}=", example), name


@pytest.mark.parametrize("name", ["docker-compose.yml", "prometheus.yml", "grafana/provisioning/datasources/prometheus.yml"])
def test_operations_files_hold_no_secrets(name: str) -> None:
    for line in (ROOT / name).read_text().splitlines():
        if found := re.search(r"(?i)(password|secret|auth)\w*:\s*(\S+)", line):
            assert found[2].startswith(("${", '"false"')), line


def test_the_dashboard_has_the_required_panels_on_the_provisioned_source() -> None:
    board = json.loads((ROOT / "grafana/dashboards/overview.json").read_text())
    source = yaml.safe_load((ROOT / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    titles = " ".join(panel["title"] for panel in board["panels"])
    for wanted in ("Portfolio value", "Daily volume", "Daily return", "Model confidence", "Machine", "Celery tasks"):
        assert wanted in titles
    assert all(panel["datasource"]["uid"] == source["uid"] for panel in board["panels"])
