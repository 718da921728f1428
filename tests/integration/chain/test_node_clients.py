"""OpenAI's and Anthropic's SDKs for Node against the real server; skipped where there is no npm or no registry."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

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
    said = seen["chat"]
    assert len(said.split()) >= 3
    assert {seen[name] for name in ("chat_stream", "response", "response_stream", "tool_none")} == {said}
    assert said.startswith(seen["log_probabilities"].strip())
    assert said.startswith(seen["stop"])
    assert all(seen[name] for name in ("roles", "tool_answered", "template_arguments", "completion_stream"))
    _check_calls_and_forms(seen)
    _check_choices(seen)
    _check_messages(seen)
    _check_refusals(seen)


def _check_calls_and_forms(seen: dict[str, Any]) -> None:
    cities = {"Rome", "Bonn"}
    assert {seen[name] for name in ("tool_required", "json_schema", "response_tool", "response_form")} <= cities
    assert seen["tool_named"][0] == "stop"
    assert seen["tool_streamed"][0] > 3
    assert {seen["tool_named"][1], seen["tool_streamed"][1], seen["message_tool"]} <= cities
    assert {seen["guided_choice"], seen["nvext"]} <= {"yes", "no"}
    assert {*seen["guided_regex"], *seen["structured_outputs"]} <= set("xy")
    assert seen["guided_json"] in (1, 2)
    assert re.fullmatch(r"\(\d\)", seen["guided_grammar"])
    assert seen["json_object"] == "{"


def _check_choices(seen: dict[str, Any]) -> None:
    assert (seen["choices"], seen["seeds"], seen["usage"]) == (3, True, True)
    assert seen["best_and_echo"].startswith("Once")
    assert (seen["tokens"], seen["models"]) == ("Once", "demo")


def _check_messages(seen: dict[str, Any]) -> None:
    assert seen["message"] == "text"
    assert seen["message_stream"]
    assert seen["counted"] > 0


def _check_refusals(seen: dict[str, Any]) -> None:
    params = {name: value["param"] for name, value in seen.items() if name.startswith("refused")}
    wanted = {"": "temperature", "_bias": "logit_bias", "_top": "top_logprobs", "_earlier": "previous_response_id"}
    assert params == {f"refused{name}": param for name, param in wanted.items()}
    names = {(seen[name]["status"], seen[name]["name"]) for name in (*params, "message_refused")}
    assert names == {(400, "BadRequestError")}
    assert (seen["missing"]["status"], seen["missing"]["name"]) == (404, "NotFoundError")
