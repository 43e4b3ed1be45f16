"""Every query of the dashboards and rules, and what a real Prometheus answers to each."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "prometheus/alerts.yml"
_NUMBER = re.compile(r"\b(alpha_trader_\w+|flask_\w+|up)(\{[^}]*\})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """where: the panel or rule it belongs to."""

    where: str
    text: str


def panels() -> Iterator[Query]:
    """Each query of each panel."""
    for path in sorted((ROOT / "grafana/dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield Query(where=f"{path.stem}: {panel['title']}", text=target["expr"])


def rules() -> Iterator[Query]:
    """Each rule's expression, which is to answer nothing while nothing is wrong."""
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield Query(where=rule["alert"], text=rule["expr"])


def selectors() -> Iterator[Query]:
    """Each series that a rule looks at: what it needs to be able to fire. Failures need not have happened."""
    for rule in rules():
        if rule.where != "ProcessMissing":
            for name, labels in set(_NUMBER.findall(rule.text)):
                kept = re.sub(r'(status|outcome)(=|!=|=~)"[^"]*",?', "", labels)
                yield Query(where=rule.where, text=f"{name}{kept}")


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A server's query interface."""

    url: str

    def ask(self, text: str) -> list[dict[str, Any]]:
        """The answer's rows; raises where the server refuses the query."""
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': text})}", timeout=30) as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        rows: list[dict[str, Any]] = told["data"]["result"]
        return rows

    def rules(self) -> list[dict[str, Any]]:
        """The rules as the server evaluates them."""
        with urllib.request.urlopen(f"{self.url}/api/v1/rules", timeout=30) as answer:
            return [rule for group in json.load(answer)["data"]["groups"] for rule in group["rules"]]

    def unanswered(self, queries: Iterator[Query]) -> list[str]:
        """The queries without a row, or whose rows are all not-a-number."""
        found = []
        for query in queries:
            if not any(row["value"][1] != "NaN" for row in self.ask(query.text)):
                found.append(f"{query.where}: {query.text}")
        return found
