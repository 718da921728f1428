"""What the field did to real servers: choices that ended twice, half-sent bodies, addresses of both families."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import Any

import httpx
import pytest

CHAT: dict[str, Any] = {"model": "demo", "messages": [{"role": "user", "content": "Tell me of the sea."}]}


@pytest.mark.parametrize("extra", [{}, {"logprobs": True}, {"stop": ["the"]}, {"max_tokens": 30}])
def test_each_streamed_choice_ends_once(demo, extra: dict[str, Any]) -> None:
    for seed in range(10):
        body = {**CHAT, "n": 4, "max_tokens": 3, "stream": True, "seed": seed, **extra}
        answer = httpx.post(f"{demo.url}/v1/chat/completions", json=body, timeout=60)
        lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: {")]
        choices = [choice for line in lines for choice in json.loads(line)["choices"]]
        for index in range(4):
            reasons = [choice["finish_reason"] for choice in choices if choice["index"] == index]
            assert [reason is not None for reason in reasons] == [False] * (len(reasons) - 1) + [True]


def test_the_models_own_sampling_is_shown_and_top_p_may_be_0(demo) -> None:
    (card,) = httpx.get(f"{demo.url}/v1/models/", timeout=60).json()["data"]
    assert card["default_sampling_params"] == {"temperature": 0.7, "top_p": 0.95}
    greedy = [
        httpx.post(f"{demo.url}/v1/chat/completions", json={**CHAT, "max_tokens": 8, **extra}, timeout=60).json()
        for extra in ({"top_p": 0}, {"temperature": 0}, {"top_p": 0, "seed": 5})
    ]
    assert len({answer["choices"][0]["message"]["content"] for answer in greedy}) == 1


def test_a_server_on_all_addresses_is_found_and_no_half_sent_body_holds_its_end(start) -> None:
    server = start("demo", "--host", "::")
    server.wait_ready()
    assert httpx.head(f"http://127.0.0.1:{server.port}/v1/models", timeout=60).status_code == 200
    if _has_ipv6():
        assert httpx.get(f"http://[::1]:{server.port}/health", timeout=60).status_code == 200
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STOKER_")}
    command = [sys.executable, "-m", "stoker", "health", "--port", str(server.port)]
    assert subprocess.run(command, env=environment, timeout=60, check=False).returncode == 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as half:
        half.sendall(b'POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n{"model": "de')
        assert server.status("/v1/health/live") == 200
        assert server.stop() == 0
        assert b"503" in half.recv(1000)
    assert "did not finish" not in server.output


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
