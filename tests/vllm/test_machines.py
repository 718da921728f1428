"""One engine over two machines, which are two process groups here: the leader behind Triton, the follower by itself.

Two engines are started, which takes a minute or more: `make test-fleet` runs it, `make test-vllm` does not.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.vllm.conftest import descendants, settings, supervised

from stoker.errors import EngineError
from stoker.kinds.vllm.runtime.engine import RUNTIME
from stoker.kinds.vllm.runtime.follower import VllmFollower
from stoker.launch.generation import EngineDiedError, Generation

PROMPT = (5, 300, 17, 640, 23)
TWO: dict[str, Any] = {"nodes": 2, "leader": "127.0.0.1", "tensor_parallel": 2}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_HOST_IP", "127.0.0.1")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")


@pytest.mark.skipif("STOKER_TEST_MACHINES" not in os.environ, reason="see above")
@pytest.mark.usefixtures("here")
def test_two_machines_serve_as_one_and_end_together(loop: Any, eager: Path, harness: Any) -> None:
    follower, ended = VllmFollower(settings(eager, RUNTIME, node_rank=1, **TWO)), threading.Event()
    failures: list[BaseException] = []

    def follow() -> None:
        try:
            follower.run()
        except EngineError as error:
            failures.append(error)
        ended.set()

    threading.Thread(target=follow, daemon=True).start()
    leader = supervised(loop, eager, node_rank=0, **TWO)
    try:
        leader.start()
        client = leader.supervisor.client
        said = loop.run(harness.tokens(client, Generation("both", PROMPT, 24)))
        assert len(said) == 24
        assert loop.run(harness.tokens(client, Generation("again", PROMPT, 24))) == said
        assert not failures

        async def killed() -> None:
            stream = client.generate(Generation("running", PROMPT, 500))
            await anext(stream)
            for pid in _workers_of(follower):
                os.kill(pid, signal.SIGKILL)
            with pytest.raises(EngineDiedError):
                async for _ in stream:
                    pass

        loop.run(killed())
        assert ended.wait(60), "a follower whose ranks have exited ends"
        assert "ranks on this machine ended" in str(failures[0])
    finally:
        follower.stop()
        with contextlib.suppress(EngineError):
            leader.stop()


def _workers_of(follower: VllmFollower) -> list[int]:
    assert follower._host is not None
    return [pid for pid, args in descendants(follower._host.pid).items() if "VLLM::Worker" in args]
