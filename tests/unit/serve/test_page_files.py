"""The page's files as browsers get them, and the libraries among them as their manifest pins them."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from httpx import ASGITransport

import stoker.serve.operate.page as page_package
from stoker.serve.http.app import create_app
from stoker.serve.operate.service import Service

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask


ROOT = Path(__file__).parents[3]
PAGE = Path(page_package.__file__).parent
VENDOR = PAGE / "vendor"
LARGEST_VENDOR = 1_500_000
LONGEST_FILE = 400


def test_the_libraries_are_the_pinned_ones() -> None:
    command = [sys.executable, str(ROOT / "tools/vendor_page.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_library_has_a_version_a_licence_and_a_pinned_archive() -> None:
    for name, package in json.loads((VENDOR / "manifest.json").read_text()).items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", package["version"]), name
        assert package["integrity"].startswith("sha512-"), name
        assert package["licence"], name
        assert "LICENSE" in package["files"], name


def test_what_is_vendored_is_small() -> None:
    assert sum(path.stat().st_size for path in VENDOR.rglob("*") if path.is_file()) < LARGEST_VENDOR


def test_the_pages_own_modules_are_short_and_name_files_that_exist(ask: Ask) -> None:
    named = set()
    for path in [*PAGE.glob("*.js"), *PAGE.glob("*.html"), *PAGE.glob("*.css")]:
        text = path.read_text()
        assert len(text.splitlines()) < LONGEST_FILE, path
        named |= set(re.findall(r'from "\./([^"]+)"', text))
        named |= set(re.findall(r'(?:src|href)="page/([^"]+)"', text))
    assert {"main.js", "page.css", "markdown.js"} <= named
    assert [name for name in sorted(named) if ask(f"/page/{name}").status != 200] == []


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/docs", "text/html"),
        ("/page/main.js", "text/javascript"),
        ("/page/page.css", "text/css"),
        ("/page/vendor/dompurify-3.5.0/LICENSE", "text/plain"),
    ],
)
def test_a_file_is_compressed_for_whom_takes_it_and_not_sent_twice(ask: Ask, path: str, kind: str) -> None:
    plain = ask(path, headers={"accept-encoding": "identity"})
    packed = ask(path, headers={"accept-encoding": "br, gzip"})
    assert (plain.status, packed.headers["content-encoding"]) == (200, "gzip")
    assert "content-encoding" not in plain.headers
    assert plain.text == packed.text
    assert int(packed.headers["content-length"]) < len(plain.text.encode())
    assert plain.headers["content-type"].startswith(kind)
    assert plain.headers["vary"] == "accept-encoding"
    again = ask(path, headers={"if-none-match": plain.headers["etag"]})
    assert (again.status, again.text) == (304, "")
    assert ask(path, headers={"if-none-match": '"other"'}).status == 200
    assert ask(path, headers={"accept-encoding": "gzip;q=0"}).headers.get("content-encoding") is None


def test_what_has_its_version_in_its_address_is_kept_and_the_rest_is_asked_for_again(ask: Ask) -> None:
    for name in ("katex-0.19.1/katex.min.js", "katex-0.19.1/fonts/KaTeX_Main-Regular.woff2"):
        assert ask(f"/page/vendor/{name}").headers["cache-control"].endswith("immutable")
    for path in ("/", "/page/main.js", "/page/vendor/manifest.json"):
        assert ask(path).headers["cache-control"] == "no-cache"


def test_the_policy_lets_only_the_servers_own_files_run(ask: Ask) -> None:
    for path in ("/", "/docs", "/page/main.js"):
        policy = ask(path).headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert "http" not in policy


@pytest.mark.parametrize(
    "name",
    [
        *("__init__.py", "assets.py", "../metrics.py", "..%2fmetrics.py", "vendor/../assets.py", "main.js/x", "x.js"),
        *("/etc/passwd", "vendor", "vendor/katex-0.19.1/katex.min.js.gz", "%00", "." * 3000),
    ],
)
def test_nothing_else_is_given_away(service: Service, name: str) -> None:
    async def status() -> int:
        async with httpx.AsyncClient(transport=ASGITransport(create_app(service)), base_url="http://test") as client:
            request = client.build_request("GET", "/")
            request.url = request.url.copy_with(raw_path=f"/page/{name}".encode())
            return (await client.send(request)).status_code

    assert asyncio.run(status()) == 404


def test_the_log_passes_over_what_the_page_loads_but_not_what_it_misses(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "stoker.access")
    for path in ("/page/main.js", "/v1/status", "/page/none.js"):
        ask(path, headers={"sec-fetch-site": "same-origin"})
    ask("/page/main.js")
    logged = [record.__dict__["fields"]["path"] for record in caplog.records if record.name == "stoker.access"]
    assert logged == ["/page/none.js", "/page/main.js"]


def test_a_library_comes_as_it_was_published(ask: Ask) -> None:
    name = "highlightjs-cdn-assets-11.12.0/highlight.min.js"
    assert ask(f"/page/vendor/{name}").text == gzip.decompress((VENDOR / f"{name}.gz").read_bytes()).decode()
