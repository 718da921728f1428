"""Rewrites the generated parts of the documents: `python tools/write_docs.py [--check]`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from stoker import errors
from stoker.errors import StokerError
from stoker.kinds.tensorrt_llm.plan.support import support_tables

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


def main() -> int:
    check = "--check" in sys.argv
    changed = False
    for name, content in (("errors.md", "".join(error_rows())), ("nvidia.md", support_tables())):
        path = ROOT / "docs" / name
        text = path.read_text()
        new = replaced(text, content)
        changed = changed or new != text
        if not check:
            path.write_text(new)
    return int(check and changed)


if __name__ == "__main__":
    sys.exit(main())
