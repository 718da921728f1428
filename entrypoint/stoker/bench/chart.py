"""The report as a picture: tokens per second, first token and time between tokens, by streams. Drawn by matplotlib."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stoker.bench.types import Load, Measured, Report
from stoker.errors import StorageError, UsageError
from stoker.installing import with_extra

SUFFIXES = (".svg", ".png")
_PANELS: tuple[tuple[str, Callable[[Load], float]], ...] = (
    ("tokens per second", lambda load: load.tokens_per_second),
    ("first token, median (ms)", lambda load: load.first_token.p50 * 1000),
    ("between tokens, median (ms)", lambda load: load.between_tokens.p50 * 1000),
)


def check_chart(path: Path) -> None:
    """Before anything is measured. UsageError for a file that could not be drawn in the end."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--chart {path}: a chart is an .svg or a .png file")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--chart {path}: there is no directory {path.absolute().parent}")
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError(
            f"--chart {path}: charts need matplotlib, which is not installed",
            remedy=f"{with_extra('bench')}, or leave --chart out",
        )


def draw(report: Report, path: Path) -> None:
    """One panel a figure, one group of bars a load. The same report gives the same SVG."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "stoker", "svg.fonttype": "none", "font.size": 9})
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, (title, value) in zip(figure.subplots(1, len(_PANELS)), _PANELS, strict=True):
        _panel(axes, title, value, report.measured)
    load = report.workload
    figure.suptitle(f"{report.model}: prompts of {load.prompt_tokens} tokens, answers of {load.output_tokens}")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
    try:
        figure.savefig(path, metadata=metadata)
    except OSError as error:
        raise StorageError(f"cannot write the chart {path}", why=error.strerror or str(error)) from error


def _panel(axes: Any, title: str, value: Callable[[Load], float], measured: Sequence[Measured]) -> None:
    width = 0.8 / len(measured)
    for number, each in enumerate(measured):
        places = [place + (number - (len(measured) - 1) / 2) * width for place in range(len(each.loads))]
        axes.bar(places, [value(load) for load in each.loads], width, label=each.name)
    labels = [_label(load) for load in measured[0].loads]
    axes.set_xticks(range(len(labels)), labels)
    axes.set_title(title)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)


def _label(load: Load) -> str:
    streams = "1 stream" if load.streams == 1 else f"{load.streams} streams"
    return f"{streams}\n{load.shared_prefix} shared" if load.shared_prefix else streams
