"""The queries of the Grafana dashboard and of the alerts, as Prometheus gets them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

MONITORING = Path(__file__).parents[1] / "deploy" / "monitoring"
DASHBOARD = json.loads((MONITORING / "grafana/dashboards/stoker.json").read_text())
_VARIABLES = {"$model": ".+", "$instance": ".+", "$__rate_interval": "1m"}


def filled_in(expression: str) -> str:
    """With Grafana's variables at what they are when everything is shown."""
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def panel_queries() -> list[tuple[str, str]]:
    """(title, expression) of every query of every panel."""
    return [(panel["title"], filled_in(target["expr"])) for panel in DASHBOARD["panels"] for target in panel["targets"]]


def alert_queries() -> list[tuple[str, str]]:
    groups = yaml.safe_load((MONITORING / "rules.yaml").read_text())["groups"]
    return [(rule["alert"], rule["expr"]) for group in groups for rule in group["rules"]]


def selectors(expression: str) -> list[tuple[str, set[str]]]:
    """(metric, labels) that an expression reads: names followed by a selector, a range or nothing, no functions."""
    found = []
    for name, matchers in re.findall(r"\b([a-z][a-z0-9]*(?:_[a-z0-9]+)+)\b(?!\s*\()(?:\{([^}]*)\})?", expression):
        labels = set(re.findall(r"(\w+)\s*[=!]~?", matchers))
        found.append((name, labels))
    grouped = {label.strip() for labels in re.findall(r"\bby \(([^)]*)\)", expression) for label in labels.split(",")}
    return [(name, labels | (grouped - {"le", "instance"})) for name, labels in found if name not in grouped]
