"""The JSON Schema of `stoker bench --json`, made from the types of the report.

`python -m stoker.bench.schema > docs/bench.schema.json` after a change; a test compares them.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from stoker.bench.types import Report
from stoker.plan.schema import schema_of


def bench_schema() -> dict[str, Any]:
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "stoker bench --json"}
    note = {"description": "times in seconds, memory in bytes; what each field means: stoker/bench/types.py"}
    return {**head, **note, **schema_of(Report)}


def schema_text() -> str:
    return json.dumps(bench_schema(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
