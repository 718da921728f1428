"""`stoker generate` as a command."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.waiting import wait_for_children, wait_until_gone

PATIENCE = 120


def generate(cache: Path, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stoker", "generate", "demo", "--cache", str(cache), *arguments]
    return subprocess.run(command, input=said, capture_output=True, text=True, timeout=PATIENCE)


def test_one_prompt_from_each_source_gives_one_answer(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("Who are you?")
    flag = generate(cache, "--prompt", "Who are you?", "--max-tokens", "40")
    assert flag.returncode == 0, flag.stderr
    assert "language model" in flag.stdout
    assert generate(cache, "--prompt-file", str(file), "--max-tokens", "40").stdout == flag.stdout
    assert generate(cache, "--max-tokens", "40", said="Who are you?").stdout == flag.stdout


def test_several_prompts_are_answered_in_order(cache: Path) -> None:
    answers = generate(cache, "--prompt", "Who are you?", "--prompt", "Hello", "--max-tokens", "8").stdout
    assert answers.startswith("[1] ")
    assert "\n[2] " in answers


def test_no_prompt_is_a_usage_error(cache: Path) -> None:
    failed = generate(cache)
    assert failed.returncode == 64
    assert "error: there is no prompt" in failed.stderr


def end_by(number: signal.Signals, cache: Path) -> int:
    """The exit code of one that was still generating."""
    generate(cache, "--prompt", "Hello", "--max-tokens", "1")
    command = [sys.executable, "-m", "stoker", "generate", "demo", "--cache", str(cache), "--prompt", "x", "--raw"]
    with subprocess.Popen(
        [*command, "--max-tokens", "100000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.read(1)  # the first of 2,000 tokens
        children = wait_for_children(process.pid)  # the engine's process
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)
    wait_until_gone(*children)
    return process.returncode


def test_ctrl_c_leaves_nothing(cache: Path) -> None:
    assert end_by(signal.SIGINT, cache) == 130


def test_what_a_killed_one_leaves_the_next_removes(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert end_by(signal.SIGKILL, cache) == -signal.SIGKILL
    assert list(tmp_path.iterdir())
    generate(cache, "--prompt", "Hello", "--max-tokens", "1")
    assert not list(tmp_path.iterdir())
