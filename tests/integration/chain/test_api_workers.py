"""The API in two processes: what must be right over both, and what the end of one changes for the other."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.serving import Server
from tests.waiting import SECONDS, wait_until, wait_until_gone

KEYS = "ann sesame\nbob open-up\n"
CONNECTIONS = 4
LONG = 1990  # tokens, nearly all of the context: their streams have not ended when the next requests are answered


class Api:
    """A server, asked on connections of one's own: `ask` says on which of them."""

    def __init__(self, server: Any, keys: Path) -> None:
        self.server, self.keys = server, keys
        self.lines = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=120) for _ in range(CONNECTIONS)]

    def ask(self, path: str, body: Any = None, key: str = "sesame", line: int = 0, method: str = "") -> tuple[int, Any]:
        """Status and document."""
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body)
        self.lines[line].request(method or ("POST" if body else "GET"), path, content, headers)
        with self.lines[line].getresponse() as answer:
            return answer.status, json.loads(answer.read() or b"null")

    def complete(self, tokens: int = 4, **more: Any) -> tuple[int, Any]:
        return self.ask("/v1/completions", {"model": "demo", "prompt": "Once", "max_tokens": tokens}, **more)

    def workers(self) -> list[dict[str, Any]]:
        return list(self.status()["api_workers"])

    def status(self) -> dict[str, Any]:
        """On a connection of its own, whichever process has it: one that has just been killed may get it."""
        while True:
            with contextlib.suppress(OSError):
                request = urllib.request.Request(f"{self.server.url}/v1/status", headers={"X-Api-Key": "sesame"})
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return dict(json.load(answer))

    def counted(self) -> Counter[str]:
        request = urllib.request.Request(f"{self.server.url}/metrics", headers={"X-Api-Key": "sesame"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            page = answer.read().decode()
        return Counter({name: float(value) for name, value in re.findall(r"^(\w\S*(?:\{.*\})?) (\S+)$", page, re.M)})

    @contextlib.contextmanager
    def streams(self, count: int, tokens: int) -> Iterator[list[http.client.HTTPResponse]]:
        """Whose first tokens have come. All are begun before one is waited for, so that all run together."""
        body = {"model": "demo", "prompt": "Once", "max_tokens": tokens, "ignore_eos": True, "stream": True}
        with contextlib.ExitStack() as stack:
            lines = [http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=SECONDS) for _ in range(count)]
            for line in lines:
                stack.callback(line.close)
                headers = {"Authorization": "Bearer sesame", "Content-Type": "application/json"}
                line.request("POST", "/v1/completions", json.dumps(body), headers)
            opened = [line.getresponse() for line in lines]
            for each in opened:
                each.readline()
            yield opened


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("workers")
    keys = folder / "keys"
    keys.write_text(KEYS)
    options = ["--api-workers", "2", "--api-key-file", str(keys), "--response-store", "memory", "--max-queue", "8"]
    server = Server(folder / "log", ["demo", *options, "--max-batch-size", "8", "--cache", str(cache)], {})
    server.wait_ready()
    asking = Api(server, keys)
    yield asking
    for line in asking.lines:
        line.close()
    if server.process.poll() is None:
        server.process.kill()
        server.process.wait()


def ended(answer: http.client.HTTPResponse) -> bool:
    """Whether a stream came to its own end."""
    try:
        return b"[DONE]" in answer.read()
    except (OSError, http.client.HTTPException):
        return False


def test_connections_are_shared_out_and_counted(api: Api) -> None:
    for line in range(CONNECTIONS):
        assert api.ask("/v1/models", line=line)[0] == 200
    wait_until(lambda: all(one["connections"] >= CONNECTIONS // 2 for one in api.workers()), "shared out")
    assert {one["state"] for one in api.workers()} == {"ready"}


def test_a_response_goes_on_in_whichever_process_the_next_request_comes_to(api: Api) -> None:
    first = {"model": "demo", "input": "A fox", "max_output_tokens": 8, "store": True}
    status, response = api.ask("/v1/responses", first)
    assert status == 200
    for line in range(CONNECTIONS):
        following = {**first, "input": "And then", "previous_response_id": response["id"], "store": False}
        assert api.ask("/v1/responses", following, line=line)[0] == 200
        assert api.ask(f"/v1/responses/{response['id']}", line=line)[1]["id"] == response["id"]
        assert api.ask(f"/v1/responses/{response['id']}", key="open-up", line=line)[0] == 404
    assert api.ask(f"/v1/responses/{response['id']}", line=1, method="DELETE")[0] == 200
    assert [api.ask(f"/v1/responses/{response['id']}", line=line)[0] for line in range(CONNECTIONS)] == [404] * 4


def test_keys_are_the_same_in_all_processes_and_are_read_again(api: Api) -> None:
    def statuses(key: str) -> set[int]:
        return {api.complete(key=key, line=line)[0] for line in range(CONNECTIONS)}

    assert statuses("open-up") == {200}
    api.keys.write_text(KEYS.replace("open-up", "knock"))
    api.server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: api.complete(key="open-up")[0] == 401, "without the old key")
    wait_until(lambda: statuses("knock") == {200}, "with the new key")
    assert statuses("open-up") == {401}
    api.keys.write_text(KEYS)
    api.server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: statuses("open-up") == {200}, "with the first key again")


def test_limits_and_counts_hold_over_all_processes(api: Api) -> None:
    """Eight run at once, and one is on its way; eight wait; all others are refused, and each is counted."""
    before, asked = api.counted(), 240
    reserved: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            reserved.append(api.status()["kv_blocks_reserved"])

    def one(number: int) -> tuple[str, int]:
        key = ("sesame", "open-up")[number % 2]
        line = http.client.HTTPConnection("127.0.0.1", api.server.port, timeout=120)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        body = {"model": "demo", "prompt": [5, 6, 7], "max_tokens": 8, "ignore_eos": True}
        with contextlib.closing(line):
            line.request("POST", "/v1/completions", json.dumps(body), headers)
            return key, line.getresponse().status

    watching = threading.Thread(target=watch)
    watching.start()
    with ThreadPoolExecutor(32) as pool:
        found = Counter(pool.map(one, range(asked)))
    done.set()
    watching.join()
    gained = api.counted() - before
    answered = {key: found[key, 200] for key in ("sesame", "open-up")}
    refused = found.total() - sum(answered.values())
    assert found.total() == asked
    assert {status for _, status in found} <= {200, 429, 503}
    assert all(answered.values())
    assert 1 <= max(reserved) <= 9
    assert gained['request_success_total{model_name="demo"}'] == sum(answered.values())
    assert gained['generation_tokens_total{model_name="demo"}'] == 8 * sum(answered.values())
    assert gained['request_failure_total{model_name="demo"}'] == refused
    counted = {name: value for name, value in gained.items() if 'endpoint="/v1/completions"' in name}
    assert sum(value for name, value in counted.items() if name.startswith("stoker_http_requests_total")) == asked
    status = api.status()
    assert (status["sequences_waiting"], status["kv_blocks_reserved"]) == (0, 0)


def test_a_killed_process_takes_only_its_own_requests_and_comes_back(api: Api) -> None:
    before, tokens = api.counted(), api.status()["tokens_generated"]
    with api.streams(4, LONG) as streams:
        busy = [one["requests_in_flight"] for one in api.workers()]
        assert busy == [2, 2]
        victim = api.workers()[0]
        os.kill(victim["pid"], signal.SIGKILL)
        wait_until(lambda: api.status()["sequences_running"] <= 2, "without the sequences of the process")
        assert api.server.status("/v1/health/ready") == 200
        assert sorted(map(ended, streams)) == [False, False, True, True]
    wait_until(lambda: [one["state"] for one in api.workers()] == ["ready", "ready"], "with both processes")
    again = api.workers()[0]
    assert again["restarts"] == 1
    assert again["pid"] != victim["pid"]
    wait_until(lambda: api.status()["kv_blocks_reserved"] == 0, "with all places free")
    assert api.status()["tokens_generated"] >= tokens + 2 * LONG
    assert (api.counted() - before)['request_success_total{model_name="demo"}'] == 2
    assert api.server.status("/v1/health/ready") == 200
    assert all(
        api.counted()[name] >= value for name, value in before.items() if "_total" in name and "api_" not in name
    )


def test_streams_of_all_processes_end_before_the_server_does(api: Api) -> None:
    processes = [one["pid"] for one in api.workers()]
    for line in api.lines:  # of which some went with the process that was killed
        line.close()
    with api.streams(4, LONG) as streams:
        api.server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: api.server.status("/v1/health/ready") == 503, "draining")
        assert api.ask("/v1/completions", {"model": "demo", "prompt": "Once"}, line=2)[1]["error"]["code"] == "draining"
        assert all(map(ended, streams))
    assert api.server.process.wait(SECONDS) == 0
    wait_until_gone(*processes)


def test_no_process_outlives_the_server(start: Any) -> None:
    server = start("demo", "--api-workers", "2")
    server.wait_until(lambda: server.status("/v1/health/live") == 200, "live")
    with urllib.request.urlopen(f"{server.url}/v1/status", timeout=30) as answer:
        workers = [one["pid"] for one in json.load(answer)["api_workers"]]
    server.process.kill()
    server.process.wait()
    wait_until_gone(*filter(None, workers))
