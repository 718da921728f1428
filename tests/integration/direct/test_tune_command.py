"""`stoker tune` as a command, with a real engine: measured, kept, planned with, forgotten."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.waiting import wait_for_children, wait_until_gone

PATIENCE = 300


def stoker(cache: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "stoker", *arguments, "--cache", str(cache)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout


def tuned_line(cache: Path, *arguments: str) -> str:
    plan: dict[str, Any] = json.loads(stoker(cache, "plan", "demo", "--json", *arguments))
    return next((line for line in plan["reasons"] if "stoker tune" in line), "")


def test_what_was_measured_is_planned_with_until_it_is_forgotten(engine_dir: Path, cache: Path) -> None:
    found = json.loads(stoker(cache, "tune", "demo", "--budget", "0.1", "--json"))
    assert found["engine"] == "openvino"
    tried = [figure["values"] for figure in found["measured"] if figure["tried"]]
    assert tried == [{}]  # the budget was for the plan alone
    assert any(not figure["tried"] for figure in found["measured"])
    assert found["planned"] > 0
    assert f"{found['planned']:.1f} tokens/s" in tuned_line(cache)
    assert tuned_line(cache, "--no-tune") == tuned_line(cache, "--goal", "latency") == ""
    assert "forgot" in stoker(cache, "tune", "demo", "--forget")
    assert tuned_line(cache) == ""
    assert "nothing was measured" in stoker(cache, "tune", "demo", "--forget")


def test_ctrl_c_keeps_nothing_and_leaves_nothing(engine_dir: Path, cache: Path) -> None:
    command = [sys.executable, "-m", "stoker", "tune", "demo", "--cache", str(cache), "--budget", "600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "tokens/s" not in (line := process.stderr.readline()):  # the first figure
            assert line, "it ended before it had measured anything"
        children = wait_for_children(process.pid)  # the next one's engine
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        assert process.returncode != 0
    wait_until_gone(*children)
    assert tuned_line(cache) == ""
