"""Coding agents from npm, each of one turn: what they ask with results of tools is in tests/unit/serve/recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path


def test_claude_code(recorder, command, node: Callable[[str], str]) -> None:
    there = {"ANTHROPIC_BASE_URL": recorder.url, "ANTHROPIC_AUTH_TOKEN": "none", "ANTHROPIC_MODEL": "demo"}
    quiet = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}
    said = command(
        *(node("claude"), "-p", "Who are you?", "--output-format", "json"),
        *("--tools", "Bash,Read", "--system-prompt", "Be brief."),
        **there,
        **quiet,
        ANTHROPIC_SMALL_FAST_MODEL="demo",
        CLAUDE_CODE_MAX_OUTPUT_TOKENS="100",
    )
    result = json.loads(said)
    assert (result["is_error"], result["num_turns"]) == (False, 1)
    assert result["usage"]["output_tokens"] > 0
    assert recorder.bodies("/v1/messages")


def test_codex(recorder, command, node: Callable[[str], str], tmp_path: Path) -> None:
    home = tmp_path / ".codex"
    home.mkdir()
    (home / "brief.md").write_text("Be brief.\n")
    provider = {"name": '"stoker"', "base_url": f'"{recorder.url}/v1"', "wire_api": '"responses"'}
    lines = ['model = "demo"', 'model_provider = "stoker"', f'model_instructions_file = "{home}/brief.md"']
    lines += ["[model_providers.stoker]", *(f"{name} = {value}" for name, value in provider.items())]
    (home / "config.toml").write_text("\n".join(lines))
    said = command(node("codex"), "exec", "--json", "--skip-git-repo-check", "Who are you?")
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert events[-1]["type"] == "turn.completed"
    assert events[-1]["usage"]["output_tokens"] > 0
    (asked,) = recorder.bodies("/v1/responses")
    assert {tool["type"] for tool in asked["tools"]} >= {"function", "namespace", "web_search"}


def test_opencode(recorder, command, node: Callable[[str], str], tmp_path: Path) -> None:
    model = {"name": "demo", "limit": {"context": 32768, "output": 100}}
    options = {"baseURL": f"{recorder.url}/v1"}
    provider = {"npm": "@ai-sdk/openai-compatible", "name": "stoker", "options": options, "models": {"demo": model}}
    agent = {"prompt": "Be brief.", "tools": {"*": False, "bash": True, "read": True}}
    settings = {"autoupdate": False, "share": "disabled", "model": "stoker/demo", "small_model": "stoker/demo"}
    settings |= {"provider": {"stoker": provider}, "agent": {"build": agent, "title": {"disable": True}}}
    (tmp_path / "opencode.json").write_text(json.dumps(settings))
    assert command(node("opencode"), "run", "Who are you?").strip()
    assert recorder.bodies("/v1/chat/completions")[-1]["tools"]
