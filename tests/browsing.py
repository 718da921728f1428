"""A real Chromium, what a person does with the page at `/`, and an engine that says what a test gives it."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
import shutil
import threading
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.planning import plan_any

from stoker.launch.generation import Delta, EngineState
from stoker.plan.render import plan_document
from stoker.plan.types import Overrides
from stoker.probe.description import load_description
from stoker.progress import Silent
from stoker.resolve.resolve import resolve
from stoker.serve.operate.frontend import Frontend
from stoker.serve.operate.service import Service

try:
    from selenium import webdriver
    from selenium.common.exceptions import ElementNotInteractableException, StaleElementReferenceException
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys as Press
except ImportError:  # `make setup` without the tests' packages
    HAS_SELENIUM = False
else:
    HAS_SELENIUM = True

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
PICTURES = os.environ.get("STOKER_SCREENSHOTS", "")  # the folder that they are written to
PATIENCE = 60
AXE = next(Path(__file__).parent.glob("integration/chain/page/vendor/axe-core-*/axe.min.js.gz"))
PHONE = (390, 844)
DESKTOP = (1280, 860)


class Page:
    """What a person sees and does."""

    def __init__(self, driver) -> None:
        self.driver = driver

    def open(self, url: str, view: str = "") -> None:
        """Anew, even where only the view differs."""
        self.driver.get("about:blank")
        self.driver.get(url + (f"/#{view}" if view else ""))

    def open_ready(self, url: str, view: str = "") -> None:
        self.open(url, view)
        self.until(lambda: self.run("return document.body.dataset.state") == "ready", "the page, ready")

    def show(self, view: str) -> None:
        self.find(f"nav.views a[href='#{view}']").click()

    def find(self, selector: str):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, name: str) -> str:
        return self.driver.find_element(By.ID, name).text

    def shown(self, name: str) -> bool:
        return self.driver.find_element(By.ID, name).is_displayed()

    def until(self, condition, what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come:\n{self.find('body').text}"
            time.sleep(0.02)

    def press(self, *keys: str) -> None:
        """To whatever has the focus."""
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def break_line(self) -> None:
        webdriver.ActionChains(self.driver).key_down(Press.SHIFT).send_keys(Press.ENTER).key_up(Press.SHIFT).perform()

    def click(self, label: str, within: str = "body") -> None:
        """The last button of that name that is shown; by its name for those who do not see it, or by its text."""
        self.until(lambda: self._clicked(within, label), f"the button {label!r}")

    def _clicked(self, within: str, label: str) -> bool:
        button = self.run(_BUTTON, within, label)
        if button is None:
            return False
        try:
            button.click()
        except (StaleElementReferenceException, ElementNotInteractableException):  # it was drawn again meanwhile
            return False
        return True

    def texts(self, selector: str) -> list[str]:
        """In one step: while the page draws, an element that was found may have been removed."""
        return list(
            self.run("return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText)", selector)
        )

    def say(self, text: str) -> None:
        """Sends a message and waits for its answer."""
        self.find("#prompt").send_keys(text, Press.ENTER)
        self.answered(text)

    def answered(self, what: str = "it") -> None:
        self.until(lambda: self.run(_ANSWERED), f"the answer to {what!r}")

    def fill(self, name: str, value: str) -> None:
        """A field of the settings, as if it had been typed and left."""
        script = "const field = document.getElementById(arguments[0]); field.value = arguments[1];"
        self.driver.execute_script(f"{script} field.dispatchEvent(new Event('change'))", name, value)

    @property
    def focused(self) -> str:
        return self.driver.switch_to.active_element.get_attribute("id") or ""

    @property
    def answers(self) -> list[str]:
        return self.texts(".message.assistant .body")

    def run(self, script: str, *arguments):
        return self.driver.execute_script(script, *arguments)

    def wait_for(self, script: str, *arguments):
        """What a promise gives."""
        return self.driver.execute_async_script(f"const done = arguments[arguments.length - 1]; {script}", *arguments)

    def media(self, size: tuple[int, int], *, dark: bool) -> None:
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600}
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})

    def violations(self) -> list[str]:
        """Of the rules of WCAG 2.2 A and AA and of good practice, by axe-core."""
        if not self.run("return window.axe !== undefined"):
            self.run(gzip.decompress(AXE.read_bytes()).decode())
        script = (
            "axe.run({resultTypes: ['violations']}).then((found) => done(found.violations), (e) => done([String(e)]))"
        )
        return [
            f"{one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes']]}"
            for one in self.wait_for(script)
        ]

    def picture(self, name: str) -> None:
        if PICTURES:
            shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": False})
            Path(PICTURES, f"page-{name}.png").write_bytes(_small(base64.b64decode(shot["data"])))


_ANSWERED = """return document.getElementById("messages").getAttribute("aria-busy") === "false"
  && (document.getElementById("said").textContent !== "" || document.querySelector(".message.error") !== null)"""


_BUTTON = """return [...document.querySelector(arguments[0]).querySelectorAll("button")].reverse().find((one) =>
  one.checkVisibility() && [one.textContent.trim(), one.getAttribute("aria-label")].includes(arguments[1])) ?? null"""


def _small(png: bytes) -> bytes:
    """With 256 colours, which is enough for text and lines: a third of the size."""
    import io

    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


class Talker:
    """Says `says` token by token. `gate`: closed, it says nothing more until it is opened. `cancelled`: answers that
    were left early."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend
        self.gate = threading.Event()
        self.reset()

    def reset(self) -> None:
        self.says = "Hello."
        self.stop_before: int | None = None  # the token before which it waits for the gate
        self.cancelled = 0
        self.gate.clear()

    async def generate(self, generation) -> AsyncGenerator[Delta, None]:
        tokens = self._frontend.tokenizer.encode_now(self.says, add_special_tokens=False)
        tokens = [*tokens, self._frontend.context.end_ids[0]][: generation.max_tokens]
        try:
            for place, token in enumerate(tokens):
                while place == self.stop_before and not self.gate.is_set():
                    await asyncio.sleep(0.01)
                yield Delta((token,))
        except (GeneratorExit, asyncio.CancelledError):
            self.cancelled += 1
            raise

    async def state(self) -> EngineState:
        return EngineState(1, 2, 3, 12, 16)


def plan_for(machine: str) -> dict[str, Any]:
    return plan_document(
        plan_any(load_description(machine), resolve("demo", Path("/nonexistent"), Silent()), Overrides())
    )


class Stage:
    """`url` of a service that a test may change: `ways` of its frontend, and what its engine says."""

    def __init__(self, service: Service, talker: Talker, frontend: Frontend) -> None:
        self.url = ""
        self.talker = talker
        self._service = service
        self._frontend = frontend

    def be(self, **ways: Any) -> None:
        """Serve a model of these ways: its names, or how it thinks."""
        self._service.attach(self.talker, replace(self._frontend, **ways))

    def tell(self, says: str) -> None:
        self.talker.says = says

    def reset(self) -> None:
        self.talker.reset()
        self.be()


def sent_by(page: Page) -> dict[str, Any]:
    """The newest request to the chat endpoint; `watch_requests` comes first."""
    return json.loads(page.run("return window.sent"))


def watch_requests(page: Page) -> None:
    page.run("""const send = window.fetch; window.fetch = (path, request) => {
      if (String(path).includes("chat/completions")) window.sent = request.body; return send(path, request); }""")
