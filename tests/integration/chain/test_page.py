"""The page at `/` in a real Chromium. STOKER_SCREENSHOTS=DIR writes the pictures of docs/page.md."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.planning import plan_any

from stoker.launch.capabilities import Capabilities
from stoker.launch.generation import Delta, EngineState, ReplicaState
from stoker.plan.render import plan_document
from stoker.plan.types import Overrides
from stoker.probe.description import load_description
from stoker.progress import Silent
from stoker.resolve.model import Pooling
from stoker.resolve.resolve import resolve
from stoker.serve.http.app import create_app
from stoker.serve.http.keys import Keys
from stoker.serve.http.server import HttpServer, bind
from stoker.serve.operate.frontend import Frontend, load_frontend
from stoker.serve.operate.service import Exposure, Service
from stoker.store.engine import Engine, Manifest

webdriver = pytest.importorskip("selenium.webdriver")

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys as Press  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium with its driver: apt install chromium chromium-driver"
)
PATIENCE = 60


class Page:
    """What a person sees and does."""

    def __init__(self, driver) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def text(self, name: str) -> str:
        return self.driver.find_element(By.ID, name).text

    def shown(self, name: str) -> bool:
        return self.driver.find_element(By.ID, name).is_displayed()

    def until(self, condition, what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come:\n{self.driver.page_source}"
            time.sleep(0.02)

    def press(self, *keys: str) -> None:
        """To whatever has the focus."""
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def break_line(self) -> None:
        webdriver.ActionChains(self.driver).key_down(Press.SHIFT).send_keys(Press.ENTER).key_up(Press.SHIFT).perform()

    @property
    def focused(self) -> str:
        return self.driver.switch_to.active_element.get_attribute("id") or ""

    @property
    def answers(self) -> list[str]:
        return [bubble.text for bubble in self.driver.find_elements(By.CSS_SELECTOR, ".message.assistant")]

    def run(self, script: str):
        return self.driver.execute_script(script)

    def media(self, *, width: int, height: int, dark: bool) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})

    def picture(self, name: str) -> None:
        if directory := os.environ.get("STOKER_SCREENSHOTS"):
            self.driver.save_screenshot(str(Path(directory, f"page-{name}.png")))


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(DRIVER)) as driver:
        yield driver


@pytest.fixture
def page(browser) -> Iterator[Page]:
    """What the page complains of, and what its policy blocks, fails the test."""
    page = Page(browser)
    page.media(width=1200, height=850, dark=False)
    yield page
    complaints = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    page.open("about:blank")
    assert [each for each in complaints if "status of 40" not in each] == []


class SlowEngine:
    """A token every 20 ms, without an end: what a person has the time to stop. `cancelled` counts those left early."""

    cancelled = 0

    async def generate(self, generation) -> AsyncGenerator[Delta, None]:
        try:
            for token in range(generation.max_tokens):
                await asyncio.sleep(0.02)
                yield Delta((300 + token % 1000,))
        except (GeneratorExit, asyncio.CancelledError):
            self.cancelled += 1
            raise

    async def state(self) -> EngineState:
        return EngineState(1, 2, 3, 12, 16)


@pytest.fixture
def slow() -> Iterator[tuple[str, SlowEngine]]:
    """The application over such an engine, behind the API key "sesame"."""
    engine = SlowEngine()
    service = Service(exposure=Exposure(keys=Keys("sesame")))
    service.attach(engine, _frontend_of_the_demo())
    with _answering(service) as url:
        yield url, engine


def _frontend_of_the_demo() -> Frontend:
    import stoker.resolve

    demo = Path(stoker.resolve.__file__).parent / "demo"
    manifest = Manifest(1, "slow", "slow", "demo", "", {"max_seq_len": 4096}, {}, {})
    return load_frontend(Engine(demo, manifest), Capabilities(frozenset(), False))


@contextmanager
def _answering(service: Service) -> Iterator[str]:
    loop = asyncio.new_event_loop()
    server = HttpServer(create_app(service), bind("127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_until_complete, args=(server.serve(),))
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
    thread.join(30)
    loop.close()


def test_it_follows_the_start_and_turns_into_the_chat_without_a_reload(page: Page, start, tmp_path: Path) -> None:
    server = start("demo", cache=tmp_path / "cache")
    server.wait_until(lambda: server.status("/v1/health/live") == 200, "live")
    page.open(server.url)
    page.run("window.unloaded = false")
    page.until(lambda: page.shown("plan") and "building" in page.text("phases"), "the plan, while it is being built")
    assert not page.shown("chat")
    page.picture("starting")
    page.until(lambda: page.text("phase") == "ready", "ready")
    page.until(lambda: page.shown("chat"), "the chat box")
    assert not page.shown("startup")
    assert page.run("return window.unloaded") is False


def test_it_shows_the_plan_with_its_reasons_and_what_the_server_does(page: Page, demo) -> None:
    with urllib.request.urlopen(f"{demo.url}/v1/plan", timeout=10) as answer:
        plan = json.load(answer)
    page.open(demo.url)
    page.until(lambda: page.shown("plan") and page.text("version") != "", "the plan")
    assert [row for row in plan["reasons"] if row not in page.text("reasons")] == []
    assert plan["command"] in page.text("command")
    assert page.text("model") == "demo"
    assert re.fullmatch(r"[\d.]+", page.text("rate"))
    page.picture("ready")


def test_a_conversation_by_keyboard_alone(page: Page, demo) -> None:
    page.open(demo.url)
    page.until(lambda: page.shown("chat"), "the chat box")
    page.press(Press.TAB, Press.ENTER)
    assert page.focused == "prompt"
    page.press("Who are you?", Press.ENTER)
    page.until(lambda: "tokens in" in page.text("said"), "the answer")
    assert len(page.answers[0].split()) >= 2
    page.press("And what")
    page.break_line()
    page.press("can you do?", Press.ENTER)
    page.until(lambda: len(page.answers) == 2 and "tokens in" in page.text("said"), "the second answer")
    assert page.driver.find_elements(By.CSS_SELECTOR, ".message.user")[1].text == "And what\ncan you do?"
    reached = set()
    for _ in range(30):
        page.press(Press.TAB)
        reached.add(page.focused)
    assert reached >= {"prompt", "send", "clear", "curl", "messages", "command"}


def test_it_asks_for_the_key_and_an_answer_can_be_stopped_at_any_token(page: Page, slow) -> None:
    url, engine = slow
    page.open(url)
    page.until(lambda: page.shown("key-form"), "the question for the key")
    assert page.focused == "key"
    page.press("wrong", Press.ENTER)
    page.until(lambda: page.shown("key-form") and page.focused == "key", "the question again")
    page.press("sesame", Press.ENTER)
    page.until(lambda: page.shown("chat") and not page.shown("key-form"), "the chat box")
    page.driver.find_element(By.ID, "prompt").send_keys("Go on", Press.ENTER)
    page.until(lambda: page.answers and len(page.answers[0]) > 20, "the first tokens")
    page.until(lambda: float(page.text("rate")) > 0, "the rate")
    assert (page.text("waiting"), page.text("kv")) == ("2", "25%")
    page.press(Press.ESCAPE)
    page.until(lambda: page.text("said") == "stopped", "the stop")
    page.until(lambda: engine.cancelled == 1, "the engine's stop")
    length = len(page.answers[0])
    time.sleep(0.2)
    assert len(page.answers[0]) == length


def test_the_curl_command_says_what_the_page_would_and_works(page: Page, demo) -> None:
    page.open(demo.url)
    page.until(lambda: page.shown("chat"), "the chat box")
    page.driver.find_element(By.CSS_SELECTOR, "#chat summary").click()
    shown = {
        name: page.driver.find_element(By.ID, name).get_attribute("placeholder") for name in ("temperature", "top_p")
    }
    assert shown == {"temperature": "0.7", "top_p": "0.95"}, "the demo's own way of sampling"
    for name, value in {"temperature": "0", "max_tokens": "7", "seed": "3", "system": "It's short"}.items():
        field = page.driver.find_element(By.ID, name)
        field.clear()
        field.send_keys(value)
    page.driver.find_element(By.ID, "prompt").send_keys("Who's there?")
    page.run("window.copied = ''; navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    page.driver.find_element(By.ID, "curl").click()
    page.until(lambda: page.text("said") == "copied", "the copy")
    command = page.run("return window.copied")
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    answer = json.loads(done.stdout)
    assert answer["usage"]["completion_tokens"] <= 7
    sent = json.loads(command.split("-d '")[1].rstrip("'").replace("'\\''", "'"))
    assert (sent["temperature"], sent["max_tokens"], sent["seed"]) == (0, 7, 3)
    assert [message["content"] for message in sent["messages"]] == ["It's short", "Who's there?"]


@pytest.mark.parametrize(("method", "path"), [("mean", "/v1/embeddings"), ("score", "/v1/rerank")])
def test_a_model_without_a_chat_shows_the_command_that_asks_it(page: Page, method: str, path: str) -> None:
    service = Service()
    service.attach(SlowEngine(), replace(_frontend_of_the_demo(), pooling=Pooling(method, True, 128)))
    with _answering(service) as url:
        page.open(url)
        page.until(lambda: page.shown("asking"), "the command")
        assert not page.shown("chat")
        assert page.text("asking-command").startswith(f"curl {url}{path} ")
        page.press(Press.TAB, Press.ENTER)
        page.until(lambda: page.focused == "asking-command", "the focus")


def test_it_shows_each_replica_where_there_are_several(page: Page) -> None:
    async def members() -> tuple[ReplicaState, ...]:
        gauges = EngineState(1, 0, 6, 12, 16)
        return ReplicaState(0, "ready", 2, sequences=3, tokens_waiting=17, engine=gauges), ReplicaState(1, "loading")

    places = [{"devices": [4, 5], "cpus": [], "nodes": []}, {"devices": [], "cpus": [0, 1], "nodes": [0]}]
    model = resolve("demo", Path("/nonexistent"), Silent())
    plan = plan_document(plan_any(load_description("cpu:4c-8g"), model, Overrides()))
    service = Service(plan={**plan, "replicas": places})
    service.attach(SlowEngine(), _frontend_of_the_demo(), members)
    with _answering(service) as url:
        page.open(url)
        page.until(lambda: page.shown("replicas-part"), "the replicas")
        rows = page.driver.find_elements(By.CSS_SELECTOR, "#replicas tr")
        cells = [[cell.text for cell in row.find_elements(By.TAG_NAME, "td")] for row in rows]
    assert cells == [["0", "ready", "GPU 4, 5", "3", "17", "50%", "2"], ["1", "loading", "CPU 0, 1", "0", "0", "", "0"]]


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_in_both_colours(page: Page, demo, dark: bool) -> None:
    page.media(width=360, height=780, dark=dark)
    page.open(demo.url)
    page.until(lambda: page.shown("chat") and page.shown("plan"), "the page")
    page.driver.find_element(By.ID, "prompt").send_keys("Tell me a story about the sea.", Press.ENTER)
    page.until(lambda: "tokens in" in page.text("said"), "the answer")
    assert page.run("return document.documentElement.scrollWidth <= window.innerWidth")
    assert _contrast(page, "body", "body") > 7
    assert _contrast(page, "#send", "#send") > 4.5
    assert _contrast(page, "#chat .note", "#chat") > 4.5
    if dark:
        page.picture("chat")


def test_everything_that_can_be_focused_has_a_name(page: Page, demo) -> None:
    page.open(demo.url)
    page.until(lambda: page.shown("chat") and page.shown("plan"), "the page")
    nodes = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"button", "textbox", "spinbutton", "link", "meter", "progressbar", "image"}
    nameless = [
        node["role"]["value"]
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in roles and not node.get("name", {}).get("value")
    ]
    assert nameless == []


def _contrast(page: Page, text: str, ground: str) -> float:
    """WCAG 2.2's contrast ratio of a text's colour to its background's."""
    colours = [
        page.run(f"return getComputedStyle(document.querySelector('{selector}')).{what}")
        for selector, what in ((text, "color"), (ground, "backgroundColor"))
    ]
    lighter, darker = sorted((_luminance(colour) for colour in colours), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
