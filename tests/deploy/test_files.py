"""The operations files agree with each other and with what the requirements name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase

from app.commands import init
from app.config import Settings
from app.runtime import metric_series as series

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


APPLICATION = {name for name, service in SERVICES.items() if service.get("image") == "alpha-trader"}
ROLES = APPLICATION - {"exchange"}


def test_the_required_services_and_ports_are_there() -> None:
    required = {"flask", "celery_worker", "celery_beat", "worker-learning", "stream", "guard", "watchdog"}
    assert required | {"redis", "postgres", "prometheus", "grafana", "flower", "nginx", "exchange"} <= set(SERVICES)
    assert SERVICES["flask"]["container_name"] == "alpha-trader-flask"
    aliases = [
        alias
        for one in SERVICES.values()
        for alias in ((one["networks"] or {}) if isinstance(one["networks"], dict) else {}).get("inside", {}).get("aliases", [])
    ]
    assert sorted(aliases) == ["api", "beat", "worker-trading"]
    ports = {name: [port.split(":")[-1] for port in service.get("ports", ())] for name, service in SERVICES.items()}
    assert {name: listed for name, listed in ports.items() if listed} == {
        "flask": ["5000"],
        "prometheus": ["9090"],
        "grafana": ["3000"],
        "flower": ["5555"],
        "nginx": ["8080", "8443"],
    }
    said = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert all(port.startswith(("127.0.0.1:", "${HTTPS_BIND:-127.0.0.1:")) for port in said)


def test_every_queue_has_a_worker() -> None:
    consumed = re.findall(r"-Q (\S+)", " ".join(str(service.get("command")) for service in SERVICES.values()))
    assert sorted(queue for queues in consumed for queue in queues.split(",")) == ["backtests", "learning", "trading", "upkeep"]
    assert "container_name" not in SERVICES["worker-learning"]  # or it could not be scaled


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_container_is_kept_small_and_told_of(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert set(service.get("cap_add", ())) <= {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert {"mem_limit", "cpus", "pids_limit"} <= service.keys()
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}
    assert "healthcheck" in service
    assert not {"privileged", "network_mode", "pid", "devices"} & service.keys()


def test_databases_lead_nowhere_and_flower_is_not_passed_on() -> None:
    inside = COMPOSE["networks"]["inside"]
    assert inside["internal"] is True
    # Who the API believes about addresses: that network, in which nginx meets it and no visitor can be.
    assert SERVICES["flask"]["environment"]["TRUSTED_PROXIES"] == inside["ipam"]["config"][0]["subnet"]
    assert SERVICES["nginx"]["networks"] == ["inside", "door"]
    # One address each, as seen by whoever looks them up: else Prometheus would count everything twice.
    for name in ("prometheus", "grafana", "flower", "nginx"):
        assert SERVICES[name]["networks"] == ["inside", "door"]
    assert not any("door" in SERVICES[name]["networks"] for name in ROLES)
    for name in ("redis", "postgres", "exchange"):
        assert SERVICES[name]["networks"] == ["inside"]
    proxied = (ROOT / "nginx/nginx.conf").read_text() + (ROOT / "nginx/proxy.conf").read_text()
    assert re.findall(r"set \$api (\S+);", proxied) == ["flask:5000"]
    assert re.findall(r"proxy_pass (\S+);", proxied) == ["http://$api"]
    assert "flower" not in proxied


def test_who_waits_for_what_and_everything_waited_for_tells_its_health() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}, name
            assert "healthcheck" in SERVICES[other]
    for name in ROLES - {"flask"}:
        assert {"flask", "redis", "postgres"} <= set(SERVICES[name]["depends_on"])


def test_secrets_are_files_that_init_makes_and_each_container_gets_its_own_only() -> None:
    declared = {name: entry["file"] for name, entry in COMPOSE["secrets"].items()}
    assert declared == {name: f"./secrets/{name}" for name in init.FILES}
    used = {name: set(service.get("secrets", ())) for name, service in SERVICES.items()}
    for name in ROLES:
        assert used.pop(name) == {"secret_key", "admin_password", "redis_url", "database_url"}
        assert SERVICES[name]["environment"]["SECRETS_DIR"] == "/run/secrets"
    assert {name: found for name, found in used.items() if found} == {
        "redis": {"redis_password"},
        "postgres": {"postgres_password"},
        "grafana": {"grafana_admin_password"},
        "flower": {"redis_url", "flower_basic_auth"},
    }


def test_redis_keeps_what_it_is_given() -> None:
    command = SERVICES["redis"]["command"][-1]
    for line in ("appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction", "requirepass $$(cat"):
        assert line in command


def test_prometheus_asks_every_process_on_the_port_it_serves() -> None:
    config = yaml.safe_load((ROOT / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    looked_up = jobs["processes"]["dns_sd_configs"][0]
    assert set(looked_up["names"]) == ROLES - {"flask", "celery_beat"}
    for name in looked_up["names"]:
        assert SERVICES[name]["environment"]["METRICS_PORT"] == str(looked_up["port"])
    assert jobs["api"]["static_configs"] == [{"targets": ["flask:5000"]}]
    assert config["rule_files"] == ["rules/alerts.yml"]
    rules = (ROOT / "prometheus/alerts.yml").read_text()
    for name in looked_up["names"]:
        assert f'absent(up{{job="processes", service="{name}"}})' in rules


def test_every_volume_is_declared_and_every_build_target_exists() -> None:
    stages = set(re.findall(r"(?m)^FROM \S+ AS (\S+)", (ROOT / "Dockerfile").read_text()))
    for service in SERVICES.values():
        if "build" in service:
            assert service["build"]["target"] in stages
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / source).exists(), volume


def test_the_image_has_no_build_tools_and_no_root() -> None:
    lines = (ROOT / "Dockerfile").read_text()
    final = lines.split(" AS runtime")[1]
    assert "USER ${TRADER_UID}:${TRADER_GID}" in final
    assert not re.search(r"gcc|build-essential|pip install|-dev\b", final)
    assert "--require-hashes" in lines
    assert all("==" in line for line in (ROOT / "requirements-flower.txt").read_text().splitlines() if line[:1].isalpha())


def test_the_example_environment_names_only_settings_and_holds_no_secrets() -> None:
    pairs = dict(line.split("=", 1) for line in (ROOT / ".env.example").read_text().splitlines() if re.match(r"[A-Z]", line))
    compose_only = {"COMPOSE_PROFILES", "HTTPS_BIND"}
    assert {name.lower() for name in pairs.keys() - compose_only} <= set(Settings.model_fields)
    required = {"ALPACA_API_KEY", "ALPACA_API_SECRET", "ALPACA_PAPER", "DISCORD_WEBHOOK_URL", "SECRET_KEY", "REDIS_URL"}
    assert required <= set(pairs)
    assert pairs["ALPACA_PAPER"] == "True"
    for name in (
        "ALPACA_API_KEY",
        "ALPACA_API_SECRET",
        "SECRET_KEY",
        "ADMIN_PASSWORD",
        "DATABASE_URL",
        "REDIS_URL",
    ):
        assert not pairs[name]
    Settings(_env_file=ROOT / ".env.example")


def test_every_variable_of_the_compose_file_has_a_default() -> None:
    assert re.findall(r"\$\{(\w+)(?!:[-+])[^}:]*\}", (ROOT / "docker-compose.yml").read_text()) == []


@pytest.mark.parametrize("name", ["docker-compose.yml", "prometheus.yml", "grafana/provisioning/datasources/prometheus.yml"])
def test_operations_files_hold_no_secrets(name: str) -> None:
    for line in (ROOT / name).read_text().splitlines():
        if found := re.search(r"(?i)(password|secret|auth)\w*[:=]\s*(\S+)", line):
            assert found[2].startswith(("${", "$$(cat", '"false"', "/run/secrets", "[", "scram-sha-256")), line


BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "grafana/dashboards").glob("*.json"))}
PANELS = [(name, panel) for name, board in BOARDS.items() for panel in board["panels"]]
OTHERS = {"up", "ALERTS", "flask_http_request_total", "flask_http_request_duration_seconds_bucket"}


def test_the_dashboards_have_the_required_panels_on_the_provisioned_source() -> None:
    assert set(BOARDS) == {"overview", "trading", "models", "risk", "tasks", "system"}
    source = yaml.safe_load((ROOT / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    titles = " ".join(panel["title"] for panel in BOARDS["overview"]["panels"])
    for wanted in ("Portfolio value", "Daily volume", "Daily return", "Model confidence", "Machine", "Celery tasks"):
        assert wanted in titles
    assert all(panel["datasource"]["uid"] == source["uid"] for _, panel in PANELS)
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS)


def test_no_two_panels_overlap() -> None:
    for board in BOARDS.values():
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not cells & taken
            assert at["x"] + at["w"] <= 24
            taken |= cells


def told() -> dict[str, tuple[str, ...]]:
    """The names of our series as Prometheus sees them, with their labels."""
    found: dict[str, tuple[str, ...]] = {}
    for one in vars(series).values():
        if not isinstance(one, MetricWrapperBase):
            continue
        name, labels = one._name, one._labelnames
        ends = (
            ("_total",) if isinstance(one, Counter) else ("_bucket", "_sum", "_count") if isinstance(one, Histogram) else ("",)
        )
        found |= {name + end: tuple(labels) + (("le",) if end == "_bucket" else ()) for end in ends}
    return found


@pytest.mark.parametrize("text", [*(t["expr"] for _, panel in PANELS for t in panel["targets"]), None])
def test_panels_and_rules_ask_for_series_that_are_told(text: str | None) -> None:
    rules = yaml.safe_load((ROOT / "prometheus/alerts.yml").read_text())["groups"]
    for asked in [text] if text else [rule["expr"] for group in rules for rule in group["rules"]]:
        names = set(re.findall(r"\b(?:alpha_trader|flask)_\w+|\bup\b|\bALERTS\b", asked))
        assert names <= told().keys() | OTHERS
        for name, labels in re.findall(r"(alpha_trader_\w+)\{([^}]*)\}", asked):
            assert set(re.findall(r"(\w+)\s*=", labels)) <= set(told()[name])


def test_every_series_is_documented_with_its_labels() -> None:
    rows = re.findall(r"(?m)^\| `(alpha_trader_\w+)` \|([^|]*)\|", (ROOT / "docs/metrics.md").read_text())
    page = {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    assert len(page) == len(rows)
    expected = {}
    for one in vars(series).values():
        if isinstance(one, MetricWrapperBase):
            expected[one._name + ("_total" if isinstance(one, Counter) else "")] = tuple(one._labelnames)
    assert page == expected
