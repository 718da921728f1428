"""Dynamo's frontend and KV router before two workers that serve the demo model."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from stoker.fleet.dynamo.process import WORKER
from stoker.processes import process_lives

WORDS = ["painter", "desert", "garden", "bird", "river", "child", "king", "cat", "boat", "hill", "blue", "old", "small"]
PROMPTS = [[{"role": "user", "content": f"Tell me a story about a {word}."}] for word in WORDS]
Messages = list[dict[str, str]]


@pytest.fixture
def two(fleet: Any) -> Any:
    fleet.complete_up_to(2)
    return fleet


def body(messages: Messages, tokens: int, **more: Any) -> dict[str, Any]:
    return {"model": "demo", "messages": messages, "max_tokens": tokens, "temperature": 0, **more}


async def ask(client: httpx.AsyncClient, messages: Messages, tokens: int, **more: Any) -> dict[str, Any]:
    answer = await client.post("/v1/chat/completions", json=body(messages, tokens, **more))
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def text_of(document: dict[str, Any]) -> str:
    return str(document["choices"][0]["message"]["content"])


def test_a_streamed_chat_through_dynamo_says_what_the_workers_own_api_says(two):
    direct = two.workers[0].post("chat/completions", messages=PROMPTS[0], max_tokens=32, temperature=0)
    with httpx.stream("POST", f"{two.kv.url}/v1/chat/completions", json=body(PROMPTS[0], 32, stream=True)) as answer:
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]
    chunks = [json.loads(line) for line in lines[:-1]]
    assert lines[-1] == "[DONE]"
    assert len(chunks) > 16, "it comes token by token"
    said = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert said == text_of(direct)
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


def test_what_a_request_asks_for_reaches_the_engine_and_what_cannot_be_is_refused(two):
    url = f"{two.kv.url}/v1/completions"
    plain = {"model": "demo", "prompt": "Once upon", "max_tokens": 8, "temperature": 0}
    answer = httpx.post(url, json={**plain, "logprobs": 1}).json()
    assert len(answer["choices"][0]["logprobs"]["token_logprobs"]) == 8
    several = httpx.post(url, json={**plain, "n": 2, "temperature": 1})
    assert several.status_code == 400
    assert "'n'" in several.text
    held = httpx.post(url, json={**plain, "guided_choice": ["red", "blue"]}).json()
    assert held["choices"][0]["text"] in ("red", "blue")
    refused = httpx.post(url, json={**plain, "guided_json": {"foo": 1}})
    assert refused.status_code == 400
    assert "'foo' is not supported" in refused.text


def test_the_router_sends_conversations_to_the_worker_that_holds_them(two):
    """Beside a router that chooses at random between the two."""
    kept, hit_rate = {}, {}
    for front in (two.by_chance, two.kv):
        kept[front.port] = asyncio.run(_share_kept(front.url, seed=front.port))
    count = two.kv.metric("dynamo_component_router_kv_hit_rate_count")
    hit_rate = two.kv.metric("dynamo_component_router_kv_hit_rate_sum") / count
    by_kv, at_random = kept[two.kv.port], kept[two.by_chance.port]
    print(f"\nfollowing turns at the worker of the turn before: {by_kv:.0%} by KV, {at_random:.0%} at random")
    print(f"the router's hit rate: {hit_rate:.0%} of the prompts' blocks, over {count:.0f} requests")
    assert by_kv > 0.9
    assert at_random < 0.8
    assert hit_rate > 0.3
    assert two.kv.metric("dynamo_component_kv_cache_events_applied") > 0


async def _share_kept(url: str, seed: int) -> float:
    """12 conversations of 5 turns, each alone, so that load never favours the other worker: how many of the later turns
    went where the one before did."""
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        served = [await _converse(client, random.Random(seed + each)) for each in range(12)]
    assert len({worker for workers in served for worker in workers}) == 2, served
    pairs = [pair for workers in served for pair in itertools.pairwise(workers)]
    return sum(one == other for one, other in pairs) / len(pairs)


async def _converse(client: httpx.AsyncClient, chance: random.Random) -> list[int]:
    messages: Messages = []
    workers = []
    for _ in range(5):
        messages.append({"role": "user", "content": " ".join(chance.choices(WORDS, k=60))})
        answer = await ask(client, messages, 8, nvext={"extra_fields": ["worker_id"]})
        messages.append({"role": "assistant", "content": text_of(answer)})
        workers.append(answer["nvext"]["worker_id"]["decode_worker_id"])
        await asyncio.sleep(0.2)  # a person reads; the events of what was computed are under way
    return workers


@dataclass
class Load:
    """Clients that ask one prompt after another until told to stop: right answers, wrong ones, and errors."""

    url: str
    reference: dict[str, str]
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    right: int = 0
    wrong: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    async def client(self, chance: random.Random) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=120) as client:
            while not self.stop.is_set():
                messages = chance.choice(PROMPTS)
                try:
                    said = text_of(await ask(client, messages, 48))
                except (AssertionError, httpx.HTTPError) as error:
                    self.failed.append(str(error)[:300])
                else:
                    self.right += said == self.reference[messages[0]["content"]]
                    if said != self.reference[messages[0]["content"]]:
                        self.wrong.append(said)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.05)


async def _under_load(fleet: Any, trouble: Callable[[Load], Awaitable[None]]) -> Load:
    """Load from 16 clients while `trouble` happens, and for 100 answers more."""
    async with httpx.AsyncClient(base_url=fleet.workers[0].url, timeout=120) as client:
        said = [text_of(await ask(client, messages, 48)) for messages in PROMPTS]
    reference = {messages[0]["content"]: text for messages, text in zip(PROMPTS, said, strict=True)}
    load = Load(fleet.kv.url, reference)
    clients = [asyncio.create_task(load.client(random.Random(each))) for each in range(16)]
    await load.until(lambda: load.right >= 50)
    await trouble(load)
    before = load.right
    await load.until(lambda: load.right >= before + 100)
    load.stop.set()
    await asyncio.gather(*clients)
    print(f"\n{load.right} right answers, {len(load.wrong)} others, {len(load.failed)} errors {load.failed[:3]}")
    return load


def test_a_worker_that_is_drained_under_load_costs_no_request(two):
    leaving = two.workers[1]

    async def drain(load: Load) -> None:
        leaving.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(leaving.process.wait, 120)

    load = asyncio.run(_under_load(two, drain))
    assert leaving.process.returncode == 0, leaving.output
    assert leaving.output.index("left Dynamo's namespace") < leaving.output.index("draining")
    assert (load.failed, load.wrong) == ([], [])


def test_a_worker_that_is_killed_under_load_takes_no_more_than_its_own_requests(two):
    dying = two.workers[1]
    children = _dynamo_processes(dying.process.pid)

    async def kill(load: Load) -> None:
        dying.process.kill()
        await load.until(lambda: not any(map(process_lives, children)))

    load = asyncio.run(_under_load(two, kill))
    dying.process.wait()
    assert load.wrong == []
    assert len(load.failed) <= 16, load.failed


def test_dynamos_process_comes_back_when_it_is_killed(two):
    worker = two.workers[0]
    (child,) = _dynamo_processes(worker.process.pid)
    os.kill(child, signal.SIGKILL)
    two.wait_until_joined(worker, times=2)
    assert worker.ready
    assert _dynamo_processes(worker.process.pid) != [child]


def _dynamo_processes(parent: int) -> list[int]:
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in listed if WORKER.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]
