"""Dynamo's requests as ours, and what its process is told."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys

import pytest
from tests.waiting import until

from stoker.errors import UsageError
from stoker.fleet.dynamo import wire
from stoker.fleet.dynamo.bridge import DynamoBridge
from stoker.fleet.dynamo.facts import Facts
from stoker.fleet.dynamo.process import PYTHON, environment, interpreter, start_process
from stoker.fleet.dynamo.requests import completion_of
from stoker.fleet.dynamo.wire import Wire
from stoker.launch.shared_memory import owner_prefix
from stoker.serve.http.errors import ApiError
from stoker.serve.operate.service import Service

REQUEST = {
    "token_ids": [1, 2, 3],
    "model": "demo",
    "sampling_options": {"n": 1, "temperature": 0.5, "top_p": None, "seed": 7, "guided_decoding": {"regex": "a+"}},
    "stop_conditions": {
        "max_tokens": 9,
        "stop": ["\n"],
        "stop_token_ids_hidden": [2],
        "stop_token_ids": [3, 2],
        "ignore_eos": None,
    },
    "output_options": {"logprobs": 1, "skip_special_tokens": True},
}


def test_a_request_of_dynamo_is_a_completion_of_its_ids():
    request = completion_of(REQUEST, "served")
    assert (request.prompt, request.model) == ([1, 2, 3], "served")
    assert (request.temperature, request.seed) == (0.5, 7)
    assert (request.max_tokens, request.stop_token_ids, request.logprobs) == (9, [2, 3], 1)
    assert request.guided_regex == "a+"
    assert request.stop is None, "Dynamo's frontend applies stop strings"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            {
                "multi_modal_data": {"image_url": []},
            },
            "multi_modal_data",
        ),
        ({"sampling_options": {"guided_decoding": {"structural_tag": {"x": 1}}}}, "structural_tag"),
        ({"sampling_options": {"temperature": 99}}, "temperature"),
        ({"sampling_options": {"n": 2}}, "'n' must be 1"),
        ({"stop_conditions": {"max_tokens": "many"}}, "max_tokens"),
    ],
)
def test_what_the_engine_cannot_follow_is_refused_by_name(change, named):
    with pytest.raises(ApiError, match=named) as caught:
        completion_of({**REQUEST, **change}, "served")
    assert caught.value.status == 400


def test_dynamos_process_gets_its_own_variables_and_none_of_our_keys(tmp_path):
    environ = {"NATS_SERVER": "nats://user:password@host", "DYN_LOG": "info", "STOKER_API_KEY": "sk", "HF_TOKEN": "hf"}
    given = environment(tmp_path, environ)
    assert given["NATS_SERVER"] == "nats://user:password@host"
    assert given["PYTHONPATH"] == str(tmp_path)
    assert {"STOKER_API_KEY", "HF_TOKEN"}.isdisjoint(given)


def test_a_python_without_dynamo_is_said_before_anything_is_done():
    with pytest.raises(UsageError, match=f"{PYTHON} is /no/python, which cannot be run"):
        interpreter({PYTHON: "/no/python"})
    with pytest.raises(UsageError, match="install ai-dynamo"):
        interpreter({})


def test_what_a_killed_dynamo_worker_left_is_removed_by_the_next(monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 1000\n")
    python.chmod(0o755)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv(PYTHON, str(python))
    dead = subprocess.run(
        [sys.executable, "-c", "from stoker.launch.shared_memory import owner_prefix; print(owner_prefix())"],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (folder / f"{dead}left").mkdir()

    async def run():
        process = await start_process(tmp_path)
        (ours,) = folder.iterdir()
        assert ours.name.startswith(owner_prefix())
        await process.stop()

    asyncio.run(run())
    assert list(folder.iterdir()) == []


def test_messages_arrive_whole_and_in_order_and_end_with_the_other_side():
    async def exchange():
        ours, theirs = [Wire(*await asyncio.open_connection(sock=end)) for end in socket.socketpair()]
        ours.send(wire.GENERATE, 1, {"token_ids": list(range(100_000))})
        ours.send(wire.CANCEL, 1)
        ours.close()
        received = [await theirs.receive() for _ in range(3)]
        theirs.close()
        await asyncio.sleep(0)
        return received

    first, second, third = asyncio.run(exchange())
    assert first is not None
    assert first[2]["token_ids"] == list(range(100_000))
    assert (second, third) == ([wire.CANCEL, 1], None)


class Process:
    """Dynamo's, which says `messages` and is then silent, or, without any, ends."""

    def __init__(self, messages: list[list[object]]) -> None:
        self.wire, self._messages, self.stopped = self, messages, False

    def send(self, *message: object) -> None:
        pass

    async def receive(self) -> list[object] | None:
        if self._messages:
            return self._messages.pop(0)
        await asyncio.Event().wait()
        return None

    async def stop(self) -> None:
        self.stopped = True

    async def wait(self) -> int:
        return 0


@pytest.mark.slow
def test_whatever_goes_wrong_with_dynamos_process_another_is_started(monkeypatch, tmp_path):
    """And what it was, if it runs, is ended first."""
    senseless = Process([[wire.GENERATE, 1]])
    joined = Process([[wire.JOINED, 7]])
    coming = [OSError("no memory"), UsageError("no Python"), RuntimeError("nobody foresaw this"), senseless, joined]

    async def start(model):
        if isinstance(following := coming.pop(0), Exception):
            raise following
        return following

    async def run():
        facts = Facts("space", "demo", "model", 64, 8, 16, 4, 64, reuses=False)
        bridge = DynamoBridge(Service(), facts, tmp_path)
        bridge.start()
        await until(lambda: bridge._joined, "joined")
        assert senseless.stopped
        await bridge.stop()
        assert joined.stopped

    monkeypatch.setattr("stoker.fleet.dynamo.bridge.start_process", start)
    monkeypatch.setattr("stoker.fleet.dynamo.bridge.backoff", lambda *given: 0.0)
    asyncio.run(run())
