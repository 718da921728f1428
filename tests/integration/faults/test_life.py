"""Smaller limits for an engine that keeps dying, damage found while serving, and SIGHUP."""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.loading import python_path
from tests.waiting import SECONDS

TOKENS = 24
STOKER = (sys.executable, "-m", "stoker")


def plan_of(server) -> dict[str, Any]:
    with urllib.request.urlopen(f"{server.url}/v1/plan", timeout=10) as answer:
        document: dict[str, Any] = json.load(answer)
        return document


def test_an_engine_that_keeps_dying_gets_smaller_limits_then_makes_way_and_is_then_given_up(start, load) -> None:
    """Its precision is the planner's choice, so that int4, which comes next, may take the place of int8."""
    server = start("demo", "--restart-limit", "2", "--max-batch-size", "2", "--max-seq-len", "2k")
    tried = []
    while is_ready_or_ended(server):
        plan = plan_of(server)
        tried.append((plan["chosen"]["precision"], plan["chosen"]["max_batch_size"]))
        assert load.ask(server.port, "The sea", TOKENS)[0] == "done"
        if tried[-1][0] == "int4":
            assert plan["reasons"][0].startswith("openvino-int8-throughput was given up: the engine died 2 times")
        kill_quietly(server)
    assert server.process.wait(SECONDS) == 70
    assert tried == [each for each in [("int8", 2), ("int8", 1), ("int4", 2), ("int4", 1)] for _ in range(2)]
    assert "batch size 1 instead of 2" in server.output
    assert "trying the next profile: openvino-int4-throughput" in server.output
    assert "the engine died 2 times within 10 minutes" in server.output.splitlines()[-2]


def test_an_engine_killed_at_load_for_lack_of_memory_is_loaded_with_less(start, load, tmp_path: Path) -> None:
    stand_in = {"SHORT_OF_MEMORY": str(tmp_path), "PYTHONPATH": python_path(Path(__file__).parent / "short_of_memory")}
    server = start("demo", "--max-batch-size", "4", "--max-seq-len", "2k", **stand_in)
    server.wait_ready()
    plan = plan_of(server)
    assert (plan["chosen"]["max_batch_size"], plan["memory"]["kv_blocks"]) == (1, 64)
    assert plan["reasons"][-2:] == [
        "the engine was killed for lack of memory: batch size 2 instead of 4, 128 KV blocks",
        "the engine was killed for lack of memory: batch size 1 instead of 2, 64 KV blocks",
    ]
    assert load.ask(server.port, "The sea", TOKENS)[0] == "done"
    assert server.stop() == 0


def is_ready_or_ended(server) -> bool:
    """Waits for one of the two; False for the end."""
    deadline = time.monotonic() + 120
    while server.process.poll() is None and not is_ready(server):
        assert time.monotonic() < deadline, server.output
        time.sleep(0.05)
    return server.process.poll() is None


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


def flip(path: Path) -> None:
    good = path.read_bytes()
    path.write_bytes(good[:-1000] + bytes([good[-1000] ^ 64]) + good[-999:])


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a byte of the weights": ("openvino_model.bin", flip),
    "truncated weights": ("openvino_model.bin", truncate),
    "a missing graph": ("openvino_model.xml", Path.unlink),
    "the whole engine": (".", shutil.rmtree),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_that_comes_later_is_found_when_the_engine_dies(start, load, tmp_path: Path, damage: str) -> None:
    cache = tmp_path / "cache"
    server = start("demo", "--restart-limit", "20", cache=cache)
    server.wait_ready()
    right = load.right_answers(server.port, TOKENS)
    (engine,) = (path.parent for path in (cache / "engines").glob("*/engine.json"))
    file, harm = DAMAGES[damage]
    harm(engine / file)
    kill_quietly(server)
    server.wait_until(lambda: "is damaged" in server.output or server.process.poll() is not None, "noticed")
    server.wait_ready()
    assert load.right_answers(server.port, TOKENS) == right
    assert server.stop() == 0


def test_a_damaged_tokenizer_is_noticed_when_it_is_read(start, load, tmp_path: Path) -> None:
    """`--check sizes` looks at no file's content before it is used."""
    cache = tmp_path / "cache"
    assert subprocess.run([*STOKER, "build", "demo", "--cache", cache], check=False).returncode == 0
    (tokenizer,) = (cache / "engines").glob("*/tokenizer.json")
    tokenizer.write_bytes(b"x" * tokenizer.stat().st_size)
    server = start("demo", "--check", "sizes", cache=cache)
    server.wait_ready()
    assert "tokenizer.json is not the file that was built" in server.output
    assert load.ask(server.port, "The sea", TOKENS)[0] == "done"
    assert server.stop() == 0


def test_sighup_reads_the_log_level_the_keys_and_the_certificate_again(start, tmp_path: Path) -> None:
    config, keys, certificate = (tmp_path / name for name in ("stoker.yaml", "keys", "server.pem"))
    authorities = trustme.CA(), trustme.CA()

    def renew(level: str, key: str, authority: trustme.CA) -> None:
        config.write_text(f"log-level: {level}\n")
        keys.write_text(f"team {key}\n")
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)

    renew("warning", "old", authorities[0])
    server = start("demo", "--config", str(config), "--api-key-file", str(keys), "--tls-cert", str(certificate))
    server.wait_until(lambda: tls_status(server, authorities[0], "/v1/health/ready") == 200, "ready")
    assert tls_status(server, authorities[0], "/v1/models", "old") == 200
    assert "GET /v1/health" not in server.output
    renew("info", "new", authorities[1])
    server.process.send_signal(signal.SIGHUP)
    server.wait_until(lambda: "the log level is info" in server.output, "reloaded")
    assert tls_status(server, authorities[1], "/v1/models", "new") == 200
    assert tls_status(server, authorities[1], "/v1/models", "old") == 401
    assert tls_status(server, authorities[0], "/v1/models", "new") == 0
    config.write_text("log-level: loud\n")
    server.process.send_signal(signal.SIGHUP)
    server.wait_until(lambda: "the settings were not reloaded" in server.output, "refused")
    assert tls_status(server, authorities[1], "/v1/health/ready") == 200
    assert server.stop() == 0


def tls_status(server, authority: trustme.CA, path: str, key: str = "") -> int:
    """The HTTP status over a new connection; 0 where the certificate is not this authority's."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    request = urllib.request.Request(f"https://127.0.0.1:{server.port}{path}", headers={"X-Api-Key": key})
    try:
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
