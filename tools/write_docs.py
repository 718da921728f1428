"""Writes the generated documents and the generated parts of others: `python tools/write_docs.py [--check]`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import commands_page
import dropin_page
import metrics_page
import plan_page

from stoker import errors
from stoker.errors import StokerError
from stoker.kinds import own_kinds
from stoker.kinds.tensorrt_llm.plan.support import support_tables
from stoker.serve.operate.support import Column, document

ROOT = Path(__file__).resolve().parent.parent
BEGIN = "<!-- begin: written by `python tools/write_docs.py` -->\n"
END = "<!-- end -->"


def error_rows() -> Iterator[str]:
    yield "| error | code | exit code |\n|---|---|---|\n"
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, StokerError)]
    for each in classes:
        yield f"| {each.__name__} | `{each.code}` | {each.exit_code} |\n"


def replaced(text: str, content: str) -> str:
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}{content}{END}{rest.split(END, 1)[1]}"


def columns() -> list[Column]:
    """Stoker's own kinds, whatever else is installed."""
    return [Column(kind.name, kind.launch.capabilities("text").lacks, kind.evidence) for kind in own_kinds().values()]


def pages() -> Iterator[tuple[str, str]]:
    """Names and contents of the documents that are written, in part or whole."""
    parts = {"errors.md": "".join(error_rows()), "nvidia.md": support_tables()}
    parts["terminal.md"] = "".join(plan_page.examples())
    for name, content in parts.items():
        yield name, replaced((ROOT / "docs" / name).read_text(), content)
    yield "support.md", document(columns())
    yield "metrics.md", metrics_page.document()
    yield "dropin.md", dropin_page.document()
    yield "reference/commands.md", commands_page.document()


def main() -> int:
    check = "--check" in sys.argv
    changed = False
    for name, new in pages():
        path = ROOT / "docs" / name
        text = path.read_text() if path.exists() else ""
        changed = changed or new != text
        if not check:
            path.write_text(new)
    return int(check and changed)


if __name__ == "__main__":
    sys.exit(main())
