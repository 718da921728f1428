"""One cache, many processes: one build, takeover from the dead, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

BUILT = "building writing the engine"


def test_eight_processes_on_an_empty_cache_build_once(cli, tmp_path: Path) -> None:
    logs = [tmp_path / f"{number}.log" for number in range(8)]
    processes = [cli.start("build", "demo", log=log) for log in logs]
    assert [process.wait(300) for process in processes] == [0] * 8
    said = [log.read_text() for log in logs]
    assert sum(BUILT in text for text in said) == 1
    assert sum("found the engine" in text for text in said) == 7
    assert cli.run("engines", "verify").returncode == 0
    assert cli.remains() == []


@pytest.mark.parametrize("elsewhere", [False, True], ids=["this host", "another container"])
def test_another_takes_over_when_the_builder_is_killed(
    cli, tmp_path, elsewhere, halt_build, wait_until, record_property
) -> None:
    prefix = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc") if elsewhere else ()
    if elsewhere and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no PID namespaces here")
    first = cli.start("build", "demo", log=tmp_path / "first.log", prefix=prefix)
    halt_build(first.pid)
    second = cli.start("build", "demo", log=tmp_path / "second.log")
    wait_until(lambda: "waiting for process" in (tmp_path / "second.log").read_text(), "waiting")
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    seconds = wait_until(lambda: BUILT in (tmp_path / "second.log").read_text(), "taken over")
    record_property("takeover_seconds", round(seconds, 1))
    assert second.wait(120) == 0
    assert cli.run("engines", "verify").returncode == 0
    # That another container's process is dead is only known when its mark has long not been touched.
    assert [path for path in cli.remains() if not (elsewhere and ".use." in path)] == []
