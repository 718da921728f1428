"""What a person sees on a terminal, from `stoker serve` to Ctrl-C. `make record` keeps it as docs/terminal.cast."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.terminal import Terminal, write_cast

STOKER = [sys.executable, "-m", "stoker"]
RECORD = os.environ.get("RECORD_TERMINAL", "")
PROMPT = ">>>"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("home")
    return {"XDG_CACHE_HOME": str(folder / "cache"), "XDG_STATE_HOME": str(folder / "state"), "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def server(environment: dict[str, str]) -> Iterator[Terminal]:
    with Terminal([*STOKER, "serve", "demo", "--port", "0"], environment) as terminal:
        terminal.wait_for(r"try: curl \S+/v1/chat/completions")
        yield terminal


@pytest.fixture(scope="module")
def url(server: Terminal) -> str:
    found = re.search(r"at (http://\S+:\d+)", server.text)
    assert found
    return found[1]


def test_the_ready_lines_give_the_page_and_a_request(server: Terminal, url: str) -> None:
    text = re.sub(r"\n +", "", server.text)  # long lines are wrapped beside a bar
    assert f"page: {url}/" in text
    assert f"try: curl {url}/v1/chat/completions -H 'Content-Type: application/json' -d " in text


def test_ps_finds_the_server(server: Terminal, url: str, environment: dict[str, str]) -> None:
    ran = subprocess.run([*STOKER, "ps", "--json"], capture_output=True, text=True, env={**os.environ, **environment})
    (found,) = [row for row in json.loads(ran.stdout) if row["url"] == url]
    assert (found["models"], found["state"], found["pid"]) == (["demo"], "ready", server.process.pid)


def test_a_person_serves_chats_plans_and_stops(server: Terminal, url: str, environment: dict[str, str]) -> None:
    folder = Path(environment["XDG_CACHE_HOME"])
    with (
        Terminal([*STOKER, "chat", url], environment, folder) as chat,
        Terminal([*STOKER, "plan", "demo"], environment, folder) as plan,
    ):
        _chat(chat)
        assert plan.wait() == 0
        assert re.search(r"Precision +int8 weights", plan.text)
        server.type("\x03")
        assert server.wait() == 0
        _left_clean(server)
        if RECORD:
            told = [("stoker serve demo", server), ("stoker chat", chat), ("stoker plan demo", plan)]
            write_cast(Path(RECORD) / "terminal.cast", "stoker serve, chat, plan and Ctrl-C", told)


def _chat(chat: Terminal) -> None:
    at = chat.wait_for(PROMPT, chat.wait_for("already running|/help lists"))
    at = _say(chat, "Who are you?", r"\d+ tokens, [\d.]+ tokens/s, first token after", at)
    at = _say(chat, "/set temprature 0", r"did you mean temperature\?", at)
    at = _say(chat, "/set max_tokens 1900", "max_tokens {2,}1900", at)
    at = _say(chat, "/system You are terse.", "system prompt set", at)
    at = _stopped(chat, at)
    at = _say(chat, "/save chat.json", "saved [24] messages", at)  # 2 where nothing of the stopped answer had come
    at = _say(chat, "/clear", "forgotten the conversation", at)
    at = _say(chat, "/load chat.json", "loaded [24] messages", at)
    at = _say(chat, "/set max_tokens 200", "max_tokens {2,}200", at)  # beside however much came before the stop
    chat.type('"""\rtwo\rlines"""\r')
    at = chat.wait_for("first token after|stopped", chat.wait_for(r"lines\"\"\"", at))
    chat.wait_for(PROMPT, at)
    chat.type("\x04")
    assert chat.wait() == 0, chat.text


def _stopped(chat: Terminal, at: int) -> int:
    """Ctrl-C while the answer comes; the chat goes on."""
    at = _say(chat, "/set temperature 1.9", r"temperature {2,}1\.9", at)
    chat.type("Tell me everything about it\r")
    at = chat.wait_for(r"it\n\s*\S", at)
    chat.type("\x03")
    at = chat.wait_for(r"\(stopped\)|tokens/s", at)
    return chat.wait_for(PROMPT, at)


def _say(chat: Terminal, line: str, answer: str, at: int) -> int:
    """The offset of the next prompt. `answer` is not to match the line, which the terminal shows as it is typed."""
    chat.type(f"{line}\r")
    return chat.wait_for(PROMPT, chat.wait_for(answer, at))


def _left_clean(server: Terminal) -> None:
    """The end of a drain says how to end it at once, clears every bar away and shows the cursor again."""
    assert "a second Ctrl-C or SIGTERM stops at once" in re.sub(r"\s+", " ", server.text)
    assert server.text.endswith("\n")
    assert server.raw.count("\x1b[?25l") == server.raw.count("\x1b[?25h")
    torn = [line for line in server.text.split("\n") if re.search(r"━.*\b(INFO|WARNING)\b", line)]
    assert torn == []


def test_a_message_from_a_pipe_gets_a_server_for_as_long_as_it_is_answered(environment: dict[str, str]) -> None:
    """With a flag of its own, it does not take one that runs already."""
    command = [*STOKER, "chat", "demo", "--temperature", "0", "--max-tokens", "20", "--log-level", "info"]
    ran = subprocess.run(
        command, input="Who are you?", capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert ran.returncode == 0, ran.stderr
    assert "language model" in ran.stdout
    assert "ready" in ran.stderr
