"""AIPerf, NVIDIA's benchmark."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.served import Served

SERVICES = ("PROFILE_CONFIGURE", "PROFILE_START", "REGISTRATION", "START")
PATIENCE = ("DATASET_CONFIGURATION", *(f"SERVICE_{name}" for name in SERVICES))  # a busy machine is not a fault


def test_every_request_of_a_benchmark_is_answered(recorder, command, server: Served, tmp_path: Path) -> None:
    command(
        *(str(Path(sys.executable).with_name("aiperf")), "profile"),
        *("--model", "demo", "--tokenizer", str(server.folder / "demo")),
        *("--url", recorder.url, "--endpoint-type", "chat", "--streaming"),
        *("--request-count", "4", "--concurrency", "2"),
        *("--synthetic-input-tokens-mean", "20", "--output-tokens-mean", "8"),
        *("--extra-inputs", "ignore_eos:true", "--ui", "none", "--artifact-dir", str(tmp_path / "artifacts")),
        **{f"AIPERF_{name}_TIMEOUT": "3000" for name in PATIENCE},
        HF_HUB_OFFLINE="",  # else it takes the directory for the name of a repository
    )
    (report,) = (tmp_path / "artifacts").rglob("profile_export_aiperf.json")
    assert json.loads(report.read_text())["request_count"]["avg"] == 4
    assert len(recorder.bodies("/v1/chat/completions")) >= 4
