"""Draws the Grafana dashboard from a Prometheus, for docs/dashboard.png: `python tools/draw_dashboard.py URL FILE`.

Not Grafana: its panels, their places, queries, legends and units, drawn with Matplotlib.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter

DASHBOARD = Path(__file__).parents[1] / "deploy/monitoring/grafana/dashboards/stoker.json"
SPAN_SECONDS = 300
VARIABLES = {"$model": ".+", "$instance": ".+", "$__rate_interval": "20s"}
BACKGROUND, PANEL, TEXT = "#111217", "#181b1f", "#ccccdc"
COLORS = ("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#b877d9")


def main(url: str, file: str) -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = plt.figure(figsize=(16, height * 0.32), facecolor=BACKGROUND)
    for panel in panels:
        place = panel["gridPos"]
        left, width = place["x"] / 24 + 0.045, place["w"] / 24 - 0.055
        bottom, tall = 1 - (place["y"] + place["h"]) / height + 0.012, place["h"] / height - 0.032
        draw(panel, figure.add_axes((left, bottom, width, tall), facecolor=PANEL), url)
    figure.savefig(file, dpi=80, facecolor=BACKGROUND)


def draw(panel: dict[str, Any], axes: Any, url: str) -> None:
    axes.set_title(panel["title"], color=TEXT, fontsize=10, loc="left", pad=4)
    axes.tick_params(colors=TEXT, labelsize=8)
    for spine in axes.spines.values():
        spine.set_visible(False)
    series = [item for target in panel["targets"] for item in lines(target, url)]
    unit = panel["fieldConfig"]["defaults"]["unit"]
    if panel["type"] == "stat":
        draw_figure(panel, axes, series, unit)
    else:
        draw_lines(axes, series, unit)


def draw_lines(axes: Any, series: list[tuple[str, list[tuple[float, float]]]], unit: str) -> None:
    axes.grid(color="#2c2f36", linewidth=0.6)
    now = time.time()
    for color, (name, points) in zip(COLORS, series, strict=False):
        times, values = [moment - now for moment, _ in points], [value for _, value in points]
        axes.plot(times, values, color=color, linewidth=1.6, label=name)
        axes.fill_between(times, values, color=color, alpha=0.08)
    axes.set_ylim(
        0, 1.3 * (max((value for _, points in series for _, value in points), default=0) or 1)
    )  # room for the legend
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, unit)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} s"))
    if series:
        legend = axes.legend(fontsize=8, facecolor=PANEL, edgecolor=PANEL, labelcolor=TEXT, loc="upper left", ncols=4)
        legend.set_zorder(5)


def draw_figure(
    panel: dict[str, Any], axes: Any, series: list[tuple[str, list[tuple[float, float]]]], unit: str
) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    newest = [(name, points[-1][1]) for name, points in series if points]
    by_name = panel["options"].get("textMode") == "name"
    text = ", ".join(name if by_name else shown(value, unit) for name, value in newest) or "-"
    axes.text(0.5, 0.45, text, ha="center", va="center", color=COLORS[0], fontsize=22, transform=axes.transAxes)


def lines(target: dict[str, Any], url: str) -> list[tuple[str, list[tuple[float, float]]]]:
    """(legend, points) of a query over the last minutes."""
    expression = target["expr"]
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    now = time.time()
    parameters = {"query": expression, "start": now - SPAN_SECONDS, "end": now, "step": 2}
    with urllib.request.urlopen(f"{url}/api/v1/query_range?{urllib.parse.urlencode(parameters)}") as answer:
        results = json.load(answer)["data"]["result"]
    return [(legend(target, result["metric"]), points_of(result)) for result in results]


def legend(target: dict[str, Any], labels: dict[str, str]) -> str:
    text: str = target["legendFormat"]
    for name, value in labels.items():
        text = text.replace("{{" + name + "}}", value)
    return text


def points_of(result: dict[str, Any]) -> list[tuple[float, float]]:
    return [(float(moment), float(value)) for moment, value in result["values"] if value != "NaN"]


def shown(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        return f"{1000 * value:.3g} ms" if value < 1 else f"{value:.3g} s"
    if unit == "bytes":
        return f"{value / (1 << 20):.0f} MiB"
    return (f"{value:,.0f}" if value >= 100 else f"{value:.3g}") + ("/s" if unit == "reqps" else "")


if __name__ == "__main__":
    main(*sys.argv[1:])
