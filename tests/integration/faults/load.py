"""Clients that ask for as long as they are told to, and what each of their requests came to."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.loading import load

questions = load("faults_questions", Path(__file__).parent / "questions.py")
PROMPTS = questions.PROMPTS


def ask(port: int, prompt: str, tokens: int, leave_after: float | None = None) -> tuple[str, str]:
    """One streamed completion: how it ended, and its text."""
    return put(port, questions.completion(prompt, tokens), leave_after=leave_after)


def put(port: int, question: Any, *, stream: bool = True, leave_after: float | None = None) -> tuple[str, str]:
    """One request: how it ended, and its text, as far as it came.

    `done`: in full. `refused`: a clean HTTP error. `error`: an error event in the stream. `closed`: no connection, or
    one that ended with nothing said; only a dead server does that. `left`: this client went, as it was told to.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    text: list[str] = []
    with contextlib.closing(connection):
        try:
            body = json.dumps({**question.body, "model": model_of(port), "stream": stream})
            connection.request("POST", question.path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                return ("refused" if "error" in json.loads(response.read()) else "garbage"), ""
            if not stream:
                return "done", _text(json.loads(response.read()))
            return _streamed(response, text, leave_after), "".join(text)
        except (OSError, http.client.HTTPException):
            return "closed", "".join(text)


def _streamed(response: http.client.HTTPResponse, text: list[str], leave_after: float | None) -> str:
    began = time.monotonic()
    for line in response:
        if leave_after is not None and time.monotonic() - began > leave_after:
            return "left"
        if not line.endswith(b"\n"):  # the connection broke in the middle of it
            return "closed"
        if not line.startswith(b"data: "):
            continue
        if line == b"data: [DONE]\n":
            return "done"
        event = json.loads(line[6:])
        if "error" in event:
            return "error"
        text.append(_text(event))
    return "closed"


def _text(document: dict[str, Any]) -> str:
    """Of a whole answer or of a chunk, of either endpoint."""
    if not document["choices"]:
        return ""
    choice = document["choices"][0]
    if "text" in choice:
        return str(choice["text"])
    return choice["delta" if "delta" in choice else "message"].get("content") or ""


@cache
def model_of(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=30) as answer:
        return str(json.load(answer)["data"][0]["id"])


@dataclass
class Clients:
    """`count` of them, each of which asks one thing after another until the block ends. `act` is given a generator of
    its own and returns how its request ended."""

    count: int
    act: Callable[[random.Random], str]
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[BaseException] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Clients:
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(self.count)]
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
            try:
                outcome = self.act(chance)
            except Exception as error:
                self.failures.append(error)
                return
            self.outcomes[outcome] += 1
            if outcome in ("refused", "closed"):
                time.sleep(0.25)


@dataclass
class Answers:
    """Asks `known` questions, whose answers given alone are `right`, and fresh ones, which must have the same answer
    twice. What is not so becomes `wrong`."""

    port: int
    known: Sequence[Any]
    right: dict[str, str]
    wrong: list[tuple[str, str]] = field(default_factory=list)

    def one(self, chance: random.Random) -> str:
        """A known one, streamed to its end."""
        return self._compared(chance.choice(self.known))

    def any(self, chance: random.Random) -> str:
        """Streamed or not; one in eight is fresh, and in one of eight the client leaves."""
        dice = chance.random()
        if dice < 1 / 8:
            return self._twice(questions.fresh(chance))
        leave_after = chance.uniform(0, 0.2) if dice < 2 / 8 else None
        stream = leave_after is not None or chance.random() < 0.5
        return self._compared(chance.choice(self.known), stream=stream, leave_after=leave_after)

    def _compared(self, question: Any, **how: Any) -> str:
        outcome, text = put(self.port, question, **how)
        right = self.right[question.name]
        if not right.startswith(text) or (outcome == "done" and text != right):
            self.wrong.append((question.name, text))
        return outcome

    def _twice(self, question: Any) -> str:
        """The second time most of it comes out of the prefix cache."""
        (first, text), (outcome, again) = put(self.port, question), put(self.port, question, stream=False)
        if first == outcome == "done" and text != again:
            self.wrong.append((question.name, again))
        return outcome


def alone(port: int, known: Sequence[Any]) -> dict[str, str]:
    """The answers to these questions, one after the other, by name."""
    answers = {question.name: put(port, question) for question in known}
    assert all(outcome == "done" for outcome, _ in answers.values()), answers
    return {name: text for name, (_, text) in answers.items()}


def every_step(port: int) -> None:
    """Prompts of each number of tokens that a step may have, one after the other: OpenVINO keeps what it prepares for
    each."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/plan", timeout=30) as answer:
        most = int(json.load(answer)["chosen"]["max_num_tokens"])
    chance = random.Random(2)
    for count in range(1, most + 1):
        body = {"prompt": [chance.randrange(100, 1000) for _ in range(count)], "max_tokens": 1, "temperature": 0}
        outcome, _ = put(port, questions.Question(f"{count} tokens", "/v1/completions", body))
        assert outcome == "done"


def completions(tokens: int) -> list[Any]:
    return [questions.completion(prompt, tokens) for prompt in PROMPTS]


def right_answers(port: int, tokens: int) -> dict[str, str]:
    return alone(port, completions(tokens))
