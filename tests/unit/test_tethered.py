"""Commands that end with the process that started them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.waiting import wait_until

from stoker.processes import process_lives
from stoker.tethered import OWN_GROUP, tethered

ROOT = Path(__file__).parents[2] / "entrypoint" / "stoker"


def test_the_command_takes_the_starters_place() -> None:
    script = "import os, sys; print(os.getpid(), os.getpgid(0) == os.getpid(), sys.argv[1:], os.environ['GIVEN'])"
    command = tethered([sys.executable, "-c", script, "a b", "-x"], signal.SIGKILL, OWN_GROUP)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"GIVEN": "it"}) as process:
        assert process.communicate()[0] == f"{process.pid} True ['a b', '-x'] it\n"


@pytest.mark.parametrize("death", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_when_its_parent_is_killed(death: signal.Signals, tmp_path: Path) -> None:
    script = "import pathlib, signal, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
    command = [sys.executable, "-c", script, str(tmp_path / "up")]
    starter = (
        "import subprocess, time; from signal import Signals; from stoker.tethered import tethered;"
        f"print(subprocess.Popen(tethered({command!r}, Signals({int(death)}))).pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        wait_until((tmp_path / "up").exists)
        assert process_lives(pid)
        parent.kill()
        wait_until(lambda: not process_lives(pid))


def test_a_parent_that_has_gone_already_starts_nothing() -> None:
    command = tethered([sys.executable, "-c", "print('started')"], signal.SIGKILL)
    command[command.index(str(os.getpid()))] = "1"
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    assert ended.returncode != 0
    assert ended.stdout == b""


@pytest.mark.parametrize(("name", "code"), [("/nowhere/at all", 127), ("/", 126)])
def test_a_command_that_cannot_be_run_is_named(name: str, code: int) -> None:
    ended = subprocess.run(tethered([name], signal.SIGKILL), capture_output=True, text=True, check=False)
    assert ended.returncode == code
    assert ended.stderr.startswith(f"{name}: ")


def test_no_code_of_ours_runs_between_fork_and_exec() -> None:
    """Forks of a process with threads of C++ libraries crash there now and then."""
    forks = re.compile(r"preexec_fn|os\.fork\(|forkpty")
    found = {path.name for path in ROOT.rglob("*.py") if forks.search(path.read_text())}
    assert found <= {"tethered.py"}, "its docstring names it"
