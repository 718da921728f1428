"""Calibration text as quantize.py reads it: a local directory whose train split has a column "text"."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from stoker.build.calibration import Text, read_text

_ROW_CHARACTERS = 1600  # about 400 tokens: quantize.py cuts a row at 512 and pads the shorter ones
_FILE = "train.jsonl"  # the data sets library takes the split from the name


def write_dataset(directory: Path, source: Path | None) -> dict[str, object]:
    """The package's text, or the user's; returns what engine.json says of it. Raises UsageError for a bad text."""
    text = read_text(source)
    rows = list(rows_of(text))
    directory.mkdir()
    with (directory / _FILE).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": row}, ensure_ascii=False) + "\n" for row in rows)
    return {"source": text.source, "sha256": text.digest, "rows": len(rows)}


def rows_of(text: Text) -> Iterator[str]:
    """Whole lines up to a row's length; a longer line is cut."""
    for document in text.documents:
        row = ""
        for line in document.splitlines(keepends=True):
            if row and len(row) + len(line) > _ROW_CHARACTERS:
                yield row
                row = ""
            row += line
            while len(row) > _ROW_CHARACTERS:
                yield row[:_ROW_CHARACTERS]
                row = row[_ROW_CHARACTERS:]
        if row.strip():
            yield row
