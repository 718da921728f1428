"""GuideLLM, a benchmark."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.served import Served

ROOT = Path(__file__).parents[2]


def test_every_request_of_a_benchmark_is_answered(recorder, command, server: Served, tmp_path: Path) -> None:
    data = tmp_path / "prompts.jsonl"
    data.write_text(
        "".join(json.dumps({"prompt": f"Once upon a time {n}", "output_tokens_count": 8}) + "\n" for n in range(6))
    )
    report = tmp_path / "report.json"
    command(
        str(Path(sys.executable).with_name("guidellm")),
        "run",
        *("--backend", f"kind=openai_http,target={recorder.url},model=demo"),
        *("--profile", "kind=concurrent,streams=2"),
        *("--constraint", "kind=max_requests,count=6"),
        *("--data", f"kind=json_file,path={data}"),
        *("--tokenizer", f"kind=huggingface_auto,model={server.folder / 'demo'}"),
        *("--output", f"kind=json,path={report}", "--disable-console"),
    )
    totals = json.loads(report.read_text())["benchmarks"][0]["metrics"]["request_totals"]
    assert (totals["successful"], totals["errored"]) == (6, 0)
