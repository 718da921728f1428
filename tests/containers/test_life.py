"""PID 1's duties, signals, health."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager

from tests.containers.engine import ENGINE, Container, call

ORPHAN = """
import os, pathlib, time
if os.fork() == 0:
    if os.fork() == 0:
        time.sleep(0.2)
    os._exit(0)
os.wait()
time.sleep(1)
states = [path.read_text().rpartition(')')[2].split()[0] for path in pathlib.Path('/proc').glob('[0-9]*/stat')]
print(''.join(sorted(states)))
"""


@contextmanager
def open_stream(port: int, tokens: int) -> Iterator[http.client.HTTPResponse]:
    """A stream whose first event has come."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    body = {"model": "demo", "prompt": "Once", "max_tokens": tokens, "ignore_eos": True, "stream": True}
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    with closing(connection), connection.getresponse() as response:
        response.readline()
        yield response


def events(response: http.client.HTTPResponse) -> list[str]:
    return re.findall(r"^data: (.*)$", response.read().decode(), re.MULTILINE)


def serve(start, filled: str, *arguments: str) -> Container:
    container: Container = start("demo", *arguments, flags=(f"--volume={filled}:/cache",))
    return container.wait_ready()


def test_sigterm_lets_a_stream_end_and_the_exit_is_clean(start, filled: str) -> None:
    container = serve(start, filled)
    with open_stream(container.port, 1900) as response:
        container.signal("TERM")
        received = events(response)
    assert received[-1] == "[DONE]"
    assert json.loads(received[-2])["choices"][0]["finish_reason"] == "length"
    assert container.wait() == 0


def test_sigterm_with_no_time_to_drain_cuts_the_stream_and_says_143(start, filled: str) -> None:
    container = serve(start, filled, "--drain-timeout", "0")
    with open_stream(container.port, 1900) as response:
        container.signal("TERM")
        assert "error" in events(response)[-1]
    assert container.wait() == 143


def test_sigterm_before_ready_ends_it_at_once(start, filled: str) -> None:
    container = start("demo", flags=(f"--volume={filled}:/cache",))
    container.wait_until(lambda: "probing" in container.output, "started")
    container.signal("TERM")
    code = container.wait()
    assert code == (0 if "drained in" in container.output else 143)


def test_orphans_are_collected(demo: Container) -> None:
    states = demo.exec("python3", "-c", ORPHAN).stdout.strip()
    assert states
    assert "Z" not in states


def test_the_health_check_is_the_servers_readiness(start, filled: str) -> None:
    container = start("demo", flags=(f"--volume={filled}:/cache",))
    assert container.state["Health"]["Status"] == "starting"
    container.wait_until(lambda: healthy(container), "healthy")
    assert container.is_ready()


def healthy(container: Container) -> bool:
    """Podman leaves the timing of checks to systemd, which a test machine may not have: so it is told to check."""
    if ENGINE == "podman":
        return call(ENGINE, "healthcheck", "run", container.name).returncode == 0
    return bool(container.state["Health"]["Status"] == "healthy")
