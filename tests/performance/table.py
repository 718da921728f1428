"""The table of docs/performance.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN = "<!-- begin: written by `make bench` -->\n"
END = "<!-- end -->"


def write(rows: Sequence[Any], note: str) -> None:
    replace(BEGIN, END, f"Machine: {machine()}\n\n" + "".join(lines(rows)) + f"\n{note}\n")


def machine() -> str:
    from stoker.probe.probe import probe_machine

    cpu = probe_machine().cpu
    return f"{cpu.name}, {cpu.cores} cores, {cpu.memory_limit / 2**30:.0f} GiB, {' '.join(cpu.isa)}"


def replace(begin: str, end: str, content: str) -> None:
    """What stands between the two in the document."""
    before, rest = DOCUMENT.read_text().split(begin)
    DOCUMENT.write_text(f"{before}{begin}{content}{end}{rest.split(end, 1)[1]}")


def lines(rows: Sequence[Any]) -> list[str]:
    head = ["| what | ours | theirs | ratio | bound | |\n", "|---|---|---|---|---|---|\n"]
    return head + [_line(row) for row in rows]


def _line(row: Any) -> str:
    sign = "at most" if row.smaller else "at least"
    verdict = "holds" if row.holds else "MISSED"
    figures = f"{row.ours:.4g} {row.unit} | {row.theirs:.4g} {row.unit} | {row.ratio:.2f}"
    return f"| {row.what} | {figures} | {sign} {row.bound:g} | {verdict} |\n"
