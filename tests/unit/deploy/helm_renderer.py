"""Renders a chart with Helm's own library, in a process of its own: its Go runtime starts threads, and Python warns
about forks beside those. `python helm_renderer.py CHART RELEASE < values.json`.

Writes JSON: `{"files": {template: text}, "lint": [message]}`, or `{"error": text}`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import helm_python


def answer(chart: str, release: str, values: dict[str, Any]) -> dict[str, Any]:
    try:
        with helm_python.Chart.load(chart) as loaded:
            loaded.validate_schema(values)
            files = loaded.render(values, name=release, namespace="models")
        report = helm_python.lint(chart, values, strict=True, namespace="models", kube_version="v1.29.0")
    except helm_python.HelmError as error:
        return {"error": str(error)}
    return {"files": files, "lint": [message["error"] for message in report["messages"]]}


if __name__ == "__main__":
    print(json.dumps(answer(sys.argv[1], sys.argv[2], json.load(sys.stdin))))
