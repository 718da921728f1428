"""Smaller limits for an engine that keeps dying, damage found while serving, and SIGHUP."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

TOKENS = 24


def kill_stub(server) -> None:
    pid = server.stub()
    os.kill(pid, signal.SIGKILL)
    server.wait_until(lambda: not Path(f"/proc/{pid}").exists(), "gone")
    server.wait_until(lambda: server.status("/v1/health/ready") != 200 or pid not in server.children(), "noticed")


def test_an_engine_that_keeps_dying_gets_smaller_limits_and_is_then_given_up(start, load) -> None:
    server = start("demo", "--restart-limit", "2", "--max-batch-size", "2", "--max-seq-len", "2k")
    server.wait_ready()
    right = load.right_answers(server.port, TOKENS)
    deaths = 0
    while server.process.poll() is None and deaths < 40:
        server.wait_until(lambda: server.process.poll() is not None or is_ready(server), "ready or ended")
        if server.process.poll() is not None:
            break
        if deaths == 2:
            assert "1 sequences at once instead of 2" in server.output
            assert load.right_answers(server.port, TOKENS) == right
        kill_quietly(server)
        deaths += 1
    assert server.process.wait(60) == 70
    assert "the engine died 2 times within 10 minutes" in server.output.splitlines()[-2]
    assert deaths >= 4


def is_ready(server) -> bool:
    return server.status("/v1/health/ready") == 200


def kill_quietly(server) -> None:
    stubs = [pid for pid, name in server.children().items() if name.startswith("triton_python")]
    for pid in stubs:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.process.poll() is None and is_ready(server):
        time.sleep(0.02)


def test_an_engine_damaged_under_a_running_server_is_replaced(start, load, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = start("demo", cache=cache)
    first.wait_ready()
    right = load.right_answers(first.port, TOKENS)
    assert first.stop() == 0
    (weights,) = (cache / "engines").glob("*/openvino_model.bin")
    good = weights.read_bytes()
    weights.write_bytes(good[:-1000] + bytes([good[-1000] ^ 64]) + good[-999:])
    second = start("demo", cache=cache)
    second.wait_until(lambda: "is damaged" in second.output, "noticed")
    second.wait_ready()
    assert load.right_answers(second.port, TOKENS) == right
    assert weights.read_bytes() == good
    assert "openvino_model.bin is not the file that was built" in second.output
    assert second.stop() == 0


def test_sighup_reads_the_log_level_again(start, tmp_path: Path) -> None:
    config = tmp_path / "stoker.yaml"
    config.write_text("log-level: warning\n")
    server = start("demo", "--config", str(config))
    server.wait_ready()
    quiet = server.output
    assert "GET /v1/health" not in quiet
    config.write_text("log-level: info\n")
    server.process.send_signal(signal.SIGHUP)
    server.wait_until(lambda: "the log level is info" in server.output, "reloaded")
    config.write_text("log-level: loud\n")
    server.process.send_signal(signal.SIGHUP)
    server.wait_until(lambda: "the settings were not reloaded" in server.output, "refused")
    assert server.status("/v1/health/ready") == 200
    assert server.stop() == 0
