"""The Triton model's half, without a host: it ends, whatever it cannot go on after, so that another takes its place."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

RELAY = """
import socket, sys, threading
from types import SimpleNamespace
from unittest.mock import MagicMock
sys.modules["triton_python_backend_utils"] = MagicMock()  # which is only within Triton
from stoker.kinds.vllm.runtime import link, relay

ours, theirs = socket.socketpair()
relay.open_host = lambda settings, folder: (SimpleNamespace(stop=lambda: None), link.Link(ours))
settings = SimpleNamespace(
    kv=SimpleNamespace(tokens=1), chosen=SimpleNamespace(purpose="generate"), run_directory="/nowhere"
)
made = relay.Relay(settings, lambda load: None, lambda: None)

class Broken:
    def is_cancelled(self):
        raise RuntimeError("it cannot be asked")
    def send(self, *given, **flags):
        print("told", given, flags, flush=True)

made.start()
{work}
threading.Event().wait(240)
"""
CANNOT_REOPEN = 71
HOST = "link.Link(theirs).send"


@pytest.mark.parametrize(
    ("work", "why"),
    [
        ("theirs.close()", "the engine's host ended"),
        (f"{HOST}(link.FAILED, link.BROKEN, 'no GPU is left')", "no GPU is left"),
        (f"{HOST}(link.STEP, 1)", "TypeError"),
        (f"{HOST}()", "IndexError"),
        ("theirs.sendall(b'\\x01\\x00\\x00\\x00\\xc1')", "DecodeError"),
        ("made.open_channel(7, Broken())", "it cannot be asked"),
    ],
    ids=["an end", "a failure", "a step without its numbers", "an empty message", "no message", "a channel"],
)
def test_a_relay_that_cannot_go_on_ends_and_says_why(work: str, why: str) -> None:
    end = "" if "Broken" in work else "\ntheirs.close()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    program = RELAY.format(work=work + end)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert ended.returncode == CANNOT_REOPEN, ended.stderr
    assert why in ended.stderr
    assert ("told" in ended.stdout) == ("Broken" in work)
