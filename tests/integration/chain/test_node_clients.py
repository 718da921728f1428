"""OpenAI's and Anthropic's SDKs for Node against the real server; skipped where there is no npm or no registry."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("clients.mjs")
PACKAGES = ("openai@6", "@anthropic-ai/sdk@1")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("no Node: install node and npm")
    directory = tmp_path_factory.mktemp("node")
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(directory), *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        pytest.skip(f"npm cannot install the SDKs: {done.stderr[-200:]}")
    shutil.copy(SCRIPT, directory)
    return directory


def test_the_sdks_for_node_see_what_those_for_python_do(demo, project: Path) -> None:
    command = ["node", str(project / SCRIPT.name), demo.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    seen = json.loads(done.stdout)
    assert [name for name, value in seen.items() if isinstance(value, dict) and "unexpected" in value] == [], seen
    assert len(seen["chat"].split()) >= 3
    assert seen["chat"] == seen["chat_stream"] == seen["response"] == seen["response_stream"]
    assert {seen["chat_tool"], seen["message_tool"]} <= {"Rome", "Bonn"}
    assert seen["completion_stream"]
    assert seen["models"] == "demo"
    assert seen["refused"] == {"status": 400, "name": "BadRequestError"}
    assert seen["missing"] == {"status": 404, "name": "NotFoundError"}
    assert seen["message"] == "text"
    assert seen["message_stream"]
    assert seen["counted"] > 0
    assert seen["message_refused"] == {"status": 400, "name": "BadRequestError"}
