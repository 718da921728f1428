"""The page at `/`: start-up, observe, plan, keys, `/docs`, accessibility; with STOKER_SCREENSHOTS=DIR, its pictures."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.answering import answering
from tests.browsing import DESKTOP, PHONE, PICTURES, Page, Press, Stage, Talker, plan_for

from stoker.errors import UsageError
from stoker.launch.generation import Adapter, EngineState, ReplicaState
from stoker.resolve.adapter import ResolvedAdapter
from stoker.resolve.model import Pooling
from stoker.serve.operate.adapters import Adapters, Served
from stoker.serve.operate.frontend import Frontend
from stoker.serve.operate.service import Service

SHOW = r"""A **KV cache** keeps the keys and values of earlier tokens, so each step computes one token only.

| precision | bytes per value | tokens in 8 GiB |
|:--|--:|--:|
| bf16 | 2 | 65,536 |
| fp8 | 1 | 131,072 |

For $L$ layers with $H$ heads of size $d$, a token takes

$$2 \cdot L \cdot H \cdot d \cdot \text{bytes}$$

```python
def bytes_per_token(layers: int, heads: int, size: int, width: int = 2) -> int:
    return 2 * layers * heads * size * width  # keys and values
```
"""
BUCKETS = """
const { histogram, quantile, between } = await import("/page/latency.js");
const bucket = (name, [le, n]) => `x_bucket{model_name="${name}",le="${le}"} ${n}.0`;
const series = (name, counts) => counts.map((one) => bucket(name, one)).join("\\n");
const early = histogram(series("a", [["0.1", 5], ["0.2", 5], ["+Inf", 5]]), "x");
const two = [["0.1", 3], ["0.2", 7], ["+Inf", 7]];
const late = histogram(`${series("a", [["0.1", 4], ["0.2", 8], ["+Inf", 8]])}\\n${series("b", two)}\\nx_sum 3`, "x");
const last = between(late, early);
done([quantile(last, 0.2), quantile(last, 0.6), quantile(histogram("", "x"), 0.5), quantile(between(late, late), 0.5),
  quantile(histogram(series("a", [["0.1", 0], ["+Inf", 4]]), "x"), 0.5)]);
"""


def test_it_follows_a_start_and_chats_with_a_real_model_by_keyboard_alone(page: Page, start, tmp_path: Path) -> None:
    server = start("demo", cache=tmp_path / "cache")
    server.wait_until(lambda: server.status("/v1/health/live") == 200, "live")
    page.open(server.url)
    page.run("window.unloaded = false")
    page.until(lambda: page.shown("plan-cards") and "building" in page.text("phases"), "the plan, during the build")
    assert not page.shown("chat")
    assert not page.shown("observe")
    page.picture("starting")
    page.until(lambda: page.text("phase") == "ready" and page.shown("chat"), "the chat")
    assert not page.shown("startup")
    assert page.run("return window.unloaded") is False
    _chat_by_keyboard(page)
    with urllib.request.urlopen(f"{server.url}/v1/plan", timeout=10) as answer:
        _look_at_plan(page, json.load(answer))
    if PICTURES:
        _picture_traffic(page, server.url)


def _chat_by_keyboard(page: Page) -> None:
    page.fill("max_tokens", "16")
    page.run("document.activeElement.blur()")
    page.press(Press.TAB, Press.ENTER)
    assert page.focused == "prompt"
    page.press("Who are you?", Press.ENTER)
    page.answered()
    assert len(page.answers[0].split()) >= 2
    page.press("And what")
    page.break_line()
    page.press("can you do?", Press.ENTER)
    page.until(lambda: len(page.answers) == 2, "the second answer")
    page.answered()
    assert page.texts(".message.user .body")[1] == "And what\ncan you do?"
    assert "tokens in" in page.texts(".message.assistant .foot")[1]
    reached = set()
    for _ in range(40):
        page.press(Press.TAB)
        reached.add(page.focused)
    assert reached >= {"prompt", "send", "clear", "curl", "attach", "open-settings", "messages", "export"}


def _picture_traffic(page: Page, url: str) -> None:
    """Observe, while clients come and go for three quarters of a minute."""
    page.show("observe")
    end = time.monotonic() + 50
    with ThreadPoolExecutor(24) as pool:
        for client in range(24):
            pool.submit(_ask_until, url, time.monotonic() + client, end - client)
        time.sleep(40)
        for size, name, dark in ((DESKTOP, "desktop-light", False), (PHONE, "phone-dark", True)):
            page.media(size, dark=dark)
            time.sleep(2)
            page.picture(f"observe-{name}")


def _ask_until(url: str, begin: float, end: float) -> None:
    body = {"model": "demo", "messages": [{"role": "user", "content": "Tell me a story."}], "max_tokens": 200}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    time.sleep(max(0, begin - time.monotonic()))
    while time.monotonic() < end:
        urllib.request.urlopen(request).read()


def _look_at_plan(page: Page, plan: dict[str, Any]) -> None:
    page.show("plan")
    assert [reason for reason in plan["reasons"] if reason not in page.text("reasons")] == []
    assert (page.text("command"), page.text("profile")) == (plan["command"], plan["chosen"]["profile"])
    assert page.text("model") == "demo"
    assert "KV cache" in page.text("memory")
    widths = page.run("return [...document.querySelectorAll('.segment')].map((one) => one.offsetWidth)")
    assert len(widths) == 5
    assert max(widths) == widths[-1], "most of the machine's memory is free"
    assert f"Rejected profiles: {len(plan['rejected'])}" in page.text("rejected-part")
    assert len(page.all("#rejected details")) == len({one["reason"] for one in plan["rejected"]})


def test_a_start_that_fails_says_why_and_what_to_do(page: Page) -> None:
    service = Service(plan=plan_for("cpu:4c-8g"))
    with answering(service) as url:
        page.open(url)
        page.until(lambda: page.shown("plan-cards") and page.text("phase") == "starting", "the start")
        assert page.violations() == []
        service.lifecycle.fail(UsageError("no room", why="the disk is full", remedy="remove something"))
        page.until(lambda: page.shown("failure"), "the failure")
        assert page.text("failure").split("\n") == ["no room", "the disk is full", "What to do: remove something"]
        assert page.violations() == []


def test_percentiles_are_those_of_the_time_between_two_samples(page: Page, stage: Stage) -> None:
    page.open_ready(stage.url)
    found = page.wait_for(f"(async () => {{ {BUCKETS} }})().catch((error) => done([String(error)]))")
    assert found == [pytest.approx(0.1), pytest.approx(0.15), None, None, pytest.approx(0.1)]


def test_observe_draws_throughput_requests_latency_and_the_cache(page: Page, stage: Stage) -> None:
    stage.tell("The old man went down to the sea. " * 4)
    page.open_ready(stage.url, "chat")
    page.until(lambda: page.run("return document.getElementById('kv').textContent") == "25%", "a first sample")
    page.say("Tell me")
    page.show("observe")
    assert (page.text("running"), page.text("waiting")) == ("1", "2")
    assert re.fullmatch(r"[\d.]+", page.text("rate"))
    for name in ("rate", "requests", "kv", "first", "next"):
        page.until(lambda name=name: page.all(f"#chart-{name} canvas"), f"the chart of {name}")
    for name in ("first", "next"):
        page.until(lambda name=name: _PERCENTILES.search(page.text(f"chart-{name}-legend")), f"percentiles of {name}")
    assert page.run(_INK, "#chart-rate canvas") > 100, "axes, a grid and a line are drawn"


_PERCENTILES = re.compile(r"p50 [\d.]+ m?s\s*p95 [\d.]+ m?s")
_INK = """const canvas = document.querySelector(arguments[0]);
const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
return pixels.filter((value, index) => index % 4 === 3 && value > 0).length"""


def test_it_shows_each_replica_where_there_are_several(page: Page, frontend: Frontend) -> None:
    async def members() -> tuple[ReplicaState, ...]:
        gauges = EngineState(1, 0, 6, 12, 16)
        return ReplicaState(0, "ready", 2, sequences=3, tokens_waiting=17, engine=gauges), ReplicaState(1, "loading")

    places = [{"devices": [4, 5], "cpus": [], "nodes": []}, {"devices": [], "cpus": [0, 1], "nodes": [0]}]
    service = Service(plan={**plan_for("cpu:4c-8g"), "replicas": places})
    service.attach(Talker(frontend), frontend, members)
    with answering(service) as url:
        page.open_ready(url, "observe")
        page.until(lambda: page.shown("replicas-part"), "the replicas")
        rows = [page.texts(f"#replicas tr:nth-child({row}) td") for row in (1, 2)]
        page.until(lambda: "replica 0 50%" in page.text("chart-kv-legend"), "each replica's cache")
    assert rows == [["0", "ready", "GPU 4, 5", "3", "17", "50%", "2"], ["1", "loading", "CPU 0, 1", "0", "0", "", "0"]]


def test_adapters_are_shown_with_their_base_and_may_be_chosen(page: Page, frontend: Frontend) -> None:
    shelf = Adapters()
    facts = ResolvedAdapter("org/poems", "0123456789abcdef", "demo", 8, 1, Path("adapter"), {})
    shelf.put(Served("poems", Adapter(1, "adapter"), facts))
    shelf.named("poems")
    adapted = replace(frontend, adapters=shelf)
    service = Service(plan=plan_for("cpu:4c-8g"))
    service.attach(Talker(adapted), adapted)
    with answering(service) as url:
        page.open_ready(url, "observe")
        page.until(lambda: page.shown("adapters-part"), "the adapters")
        assert page.texts("#adapters td") == ["poems", "demo", "org/poems", "0123456789ab", "8", "1"]
        assert page.texts("#model-choice option") == ["demo", "poems"]


def test_it_asks_for_the_key_and_an_answer_can_be_stopped_at_any_token(page: Page, locked) -> None:
    url, talker = locked
    page.open(url)
    page.until(lambda: page.shown("key-form"), "the question for the key")
    assert page.focused == "key"
    page.press("wrong", Press.ENTER)
    page.until(lambda: page.shown("key-form") and "does not know" in page.text("key-note"), "the question again")
    page.press("sesame", Press.ENTER)
    page.until(lambda: page.shown("chat") and not page.shown("key-form"), "the chat")
    talker.says = "The old man went down to the sea. " * 9
    talker.stop_before = 20
    page.find("#prompt").send_keys("Go on", Press.ENTER)
    page.until(lambda: page.answers and len(page.answers[0]) > 20, "the first tokens")
    page.press(Press.ESCAPE)
    page.until(lambda: page.text("said") == "stopped" and talker.cancelled == 1, "the stop, in the engine too")
    begun = page.answers[0]
    assert talker.says.startswith(begun)
    assert "stopped" in page.find(".message.assistant .foot").text
    kept = "return [sessionStorage, localStorage].map((place) => place.getItem('stoker-key'))"
    assert page.run(kept) == ["sesame", None]
    page.find("#open-settings").click()
    page.click("Forget the API key")
    page.until(lambda: page.shown("key-form") and page.run(kept) == [None, None], "the question, as it is forgotten")
    page.find("#key-remember").click()
    page.find("#key").send_keys("sesame", Press.ENTER)
    page.until(lambda: page.run(kept) == [None, "sesame"], "the key, kept in this browser")


@pytest.mark.parametrize(("method", "path"), [("mean", "/v1/embeddings"), ("score", "/v1/rerank")])
def test_a_model_without_a_chat_shows_the_command_that_asks_it(
    page: Page, stage: Stage, method: str, path: str
) -> None:
    stage.be(pooling=Pooling(method, True, 128))
    page.open_ready(stage.url)
    page.until(lambda: page.shown("asking"), "the command")
    assert not page.shown("chat")
    assert page.text("asking-command").startswith(f"curl {stage.url}{path} ")
    page.press(Press.TAB, Press.ENTER)
    page.until(lambda: page.focused == "asking-command", "the focus")
    assert page.violations() == []


def test_the_apis_description_needs_no_network_and_takes_the_pages_key(page: Page, locked) -> None:
    url, _ = locked
    page.open(f"{url}/docs")
    page.until(lambda: "needs a key" in page.text("api"), "what to do without a key")
    page.run("sessionStorage.setItem('stoker-key', 'sesame')")
    page.open(f"{url}/docs")
    page.until(lambda: page.run("return document.querySelectorAll('.opblock').length") > 20, "the endpoints")
    assert page.run("return document.body.textContent.includes('/v1/chat/completions')")
    elsewhere = "return performance.getEntriesByType('resource').map((one) => one.name)"
    assert [name for name in page.run(elsewhere) if not name.startswith(f"{url}/")] == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_view_is_accessible_on_a_desktop_and_on_a_phone(page: Page, stage: Stage, dark: bool) -> None:
    stage.be(names=("demo",))
    stage.tell(SHOW)
    page.media(DESKTOP, dark=dark)
    page.open_ready(stage.url)
    page.say("How much memory does the KV cache need?")
    page.until(lambda: len(page.all(".formula .katex")) == 4, "the formulas")
    colours = "dark" if dark else "light"
    found = []
    for size, name in ((DESKTOP, "desktop"), (PHONE, "phone")):
        page.media(size, dark=dark)
        for view in ("chat", "observe", "plan"):
            page.show(view)
            page.until(lambda view=view: page.shown(view), view)
            if view == "observe":
                page.until(lambda: page.all("#chart-next canvas"), "the charts")
            found += [f"{colours} {name} {view}: {each}" for each in page.violations()]
            assert page.run("return document.documentElement.scrollWidth <= window.innerWidth"), f"{view} is too wide"
            if view == "chat" or (view, name, dark) in (("plan", "desktop", True), ("plan", "phone", False)):
                page.picture(f"{view}-{name}-{colours}")
    page.show("chat")
    page.find("#open-list").click()
    found += [f"{colours} list: {each}" for each in page.violations()]
    page.find("#close-list").click()
    page.find("#open-settings").click()
    found += [f"{colours} settings: {each}" for each in page.violations()]
    assert found == []
