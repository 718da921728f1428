"""The image by itself fetches from a bucket what another cache gave to it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest
from tests.containers.engine import run, wait_for
from tests.ports import free_port

BUCKET = "--remotes=s3://engines/ours"


@pytest.fixture
def aws() -> Iterator[tuple[str, ...]]:
    """An S3 server, as flags for a container."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stderr=subprocess.DEVNULL) as server:
        wait_for(url)
        urllib.request.urlopen(urllib.request.Request(f"{url}/engines", method="PUT")).close()
        given = {"ENDPOINT_URL": url, "ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "REGION": "us-east-1"}
        yield tuple(f"--env=AWS_{name}={value}" for name, value in given.items())
        server.kill()


def test_an_engine_goes_from_one_cache_to_another_through_a_bucket(aws, filled: str, volume: str) -> None:
    here, there = (f"--volume={filled}:/cache", *aws), (f"--volume={volume}:/cache", *aws)
    [engine] = json.loads(run("engines", "list", "--json", flags=here).stdout)
    pushed = run("engines", "push", engine["key"], BUCKET, flags=here)
    assert pushed.returncode == 0, pushed.stderr
    fetched = run("build", "demo", BUCKET, flags=there)
    assert fetched.returncode == 0, fetched.stderr
    assert f"{engine['key']} from s3://engines/ours" in fetched.stderr
    assert "building" not in fetched.stderr
