"""What an API process is started with."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stoker.workers.member import _environment

HASHES = "from stoker.launch.routing import block_hashes; print(block_hashes(range(100), 16, 3))"


def hashes(seed: str) -> str:
    command = [sys.executable, "-c", HASHES]
    return subprocess.run(command, env=_environment(seed), capture_output=True, text=True, check=True).stdout


def test_prompts_are_hashed_alike_in_all_processes_of_a_server_and_in_no_other() -> None:
    assert hashes("7") == hashes("7")
    assert hashes("7") != hashes("8")


def test_secrets_stay_with_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOKER_API_KEY", "sesame")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x=y")
    given = _environment("1")
    assert not {"STOKER_API_KEY", "HF_TOKEN"} & set(given)
    assert given["OTEL_EXPORTER_OTLP_HEADERS"] == "x=y"
