"""Streams that run for as long as they are told to, and what each of their requests came to."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import threading
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from functools import cache

PROMPTS = ("Once upon a time", "Who are you?", "The sea", "A stoker feeds")


def ask(port: int, prompt: str, tokens: int, leave_after: float | None = None) -> tuple[str, str]:
    """One streamed request: how it ended, and its text.

    `done`: in full. `refused`: a clean HTTP error. `error`: an error event in the stream. `closed`: no connection, or
    one that ended with nothing said; only a dead server does that. `left`: this client went, as it was told to.
    """
    body = {
        "model": model_of(port),
        "prompt": prompt,
        "max_tokens": tokens,
        "ignore_eos": True,
        "stream": True,
        "temperature": 0,
    }
    began, text = time.monotonic(), ""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    with contextlib.closing(connection):
        try:
            connection.request(
                "POST", "/v1/completions", json.dumps({**body, "stream": True}), {"Content-Type": "application/json"}
            )
            response = connection.getresponse()
            if response.status != 200:
                return ("refused" if "error" in json.loads(response.read()) else "garbage"), ""
            for line in response:
                if leave_after is not None and time.monotonic() - began > leave_after:
                    return "left", text
                if not line.startswith(b"data: "):
                    continue
                if line == b"data: [DONE]\n":
                    return "done", text
                event = json.loads(line[6:])
                if "error" in event:
                    return "error", text
                text += event["choices"][0]["text"] if event["choices"] else ""
        except (OSError, http.client.HTTPException):
            return "closed", text
    return "closed", text


@cache
def model_of(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=30) as answer:
        return str(json.load(answer)["data"][0]["id"])


@dataclass
class Load:
    """`streams` clients that ask one thing after another until `stop`; compared with what is `right`."""

    port: int
    right: dict[str, str]
    tokens: int
    streams: int = 16
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(self.streams)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        chance = random.Random(number)
        while not self._stop.is_set():
            prompt = chance.choice(PROMPTS)
            outcome, text = ask(self.port, prompt, self.tokens)
            self.outcomes[outcome] += 1
            if not self.right[prompt].startswith(text) or (outcome == "done" and text != self.right[prompt]):
                self.wrong.append((prompt, text))
            if outcome in ("refused", "closed"):
                time.sleep(0.25)


def right_answers(port: int, tokens: int) -> dict[str, str]:
    answers = {prompt: ask(port, prompt, tokens) for prompt in PROMPTS}
    assert all(outcome == "done" for outcome, _ in answers.values()), answers
    return {prompt: text for prompt, (_, text) in answers.items()}
