"""The page at `/` in a real Chromium: one browser, and one application, for the tests of each process of pytest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.answering import answering
from tests.browsing import CHROMIUM, DESKTOP, DRIVER, HAS_SELENIUM, PATIENCE, Page, Stage, Talker, plan_for

import stoker.resolve
from stoker.kinds.openvino import TENSORS
from stoker.serve.http.keys import Keys
from stoker.serve.operate.frontend import Frontend, load_frontend
from stoker.serve.operate.service import Exposure, Service
from stoker.store.engine import Engine, Manifest

DEMO = Path(stoker.resolve.__file__).parent / "demo"


@pytest.fixture(scope="session")
def browser():
    if not (HAS_SELENIUM and CHROMIUM and DRIVER):
        pytest.skip("NO CHROMIUM WITH ITS DRIVER, THE PAGE IS NOT TESTED: apt install chromium chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(DRIVER)) as driver:
        driver.set_script_timeout(PATIENCE)
        yield driver


@pytest.fixture
def page(browser) -> Iterator[Page]:
    """With nothing kept. What the page complains of, and what its policy blocks, fails the test."""
    page = Page(browser)
    page.media(DESKTOP, dark=False)
    page.open("about:blank")
    browser.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": "*", "storageTypes": "all"})
    browser.get_log("browser")
    yield page
    complaints = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    page.open("about:blank")
    # Refusals are part of some tests, and a server may end before the page that asks it.
    assert [each for each in complaints if "status of 40" not in each and "net::ERR_CONNECTION" not in each] == []


@pytest.fixture(scope="session")
def frontend() -> Iterator[Frontend]:
    manifest = Manifest(1, "demo", "openvino", "demo", "", {"max_seq_len": 8192}, {}, {})
    made = load_frontend(Engine(DEMO, manifest), TENSORS["text"].capabilities)
    yield made
    made.tokenizer.close()


@pytest.fixture(scope="session")
def staged(frontend: Frontend) -> Iterator[Stage]:
    service = Service(plan=plan_for("cpu:4c-8g"))
    stage = Stage(service, Talker(frontend), frontend)
    stage.be()
    with answering(service) as stage.url:
        yield stage


@pytest.fixture
def stage(staged: Stage) -> Stage:
    staged.reset()
    return staged


@pytest.fixture
def locked(frontend: Frontend) -> Iterator[tuple[str, Talker]]:
    """A server that knows the key "sesame"."""
    service = Service(exposure=Exposure(keys=Keys("sesame")))
    talker = Talker(frontend)
    service.attach(talker, frontend)
    with answering(service) as url:
        yield url, talker
