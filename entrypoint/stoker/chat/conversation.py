"""What a chat consists of: messages, a system prompt and sampling; kept in a file when asked to."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stoker.errors import UsageError
from stoker.json_text import parse_json
from stoker.nearest import did_you_mean

_MARK = "stoker-chat"
_VERSION = 1


def _words(text: str) -> list[str]:
    return [text.encode("latin-1", "backslashreplace").decode("unicode_escape") if "\\" in text else text]


SAMPLING: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "temperature": (float, "0 is greedy; higher is more varied"),
    "top_p": (float, "sample from the most likely tokens that make up this share"),
    "top_k": (int, "sample from this many tokens"),
    "min_p": (float, "leave out tokens less likely than this share of the likeliest"),
    "max_tokens": (int, "longest answer, in tokens"),
    "seed": (int, "the same seed gives the same answer"),
    "frequency_penalty": (float, "against tokens by how often they came"),
    "presence_penalty": (float, "against tokens that came at all"),
    "repetition_penalty": (float, "above 1: against tokens that came before"),
    "stop": (_words, "text that ends the answer"),
}
"""The request's parameters that /set takes: how their text is read, and what they do."""


@dataclass
class Conversation:
    """`sampling` has only what was set: the server's defaults hold for the rest."""

    model: str
    system: str = ""
    sampling: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, str]] = field(default_factory=list)

    def request(self) -> dict[str, Any]:
        """The body of a request for the next answer."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return {"model": self.model, "messages": [*system, *self.messages], **self.sampling}

    def say(self, text: str) -> None:
        self.messages.append({"role": "user", "content": text})

    def answered(self, text: str) -> None:
        self.messages.append({"role": "assistant", "content": text})

    def take_back_answer(self) -> bool:
        """Drops the last answer, so that another can be asked for; False where there is nothing to answer."""
        while self.messages and self.messages[-1]["role"] == "assistant":
            self.messages.pop()
        return bool(self.messages)

    def take_back_question(self) -> None:
        """Drops the last message, which got no answer."""
        if self.messages and self.messages[-1]["role"] == "user":
            self.messages.pop()

    def set(self, name: str, value: str) -> None:
        """UsageError for what is no parameter, or no value of it. `default` unsets."""
        if name not in SAMPLING:
            raise UsageError(f"unknown parameter: {name}", remedy=did_you_mean(name, SAMPLING))
        if value == "default":
            self.sampling.pop(name, None)
            return
        read, _ = SAMPLING[name]
        try:
            self.sampling[name] = read(value)
        except ValueError as error:
            what = "a whole number" if read is int else "a number"
            raise UsageError(f"invalid {name}: {value}", remedy=f"give {what}, or `default`") from error


def save(conversation: Conversation, path: Path) -> None:
    """UsageError for a file that cannot be written, or that is there and no saved chat."""
    if os.path.exists(path) and not _is_chat(path):  # noqa: PTH110 - Path's raises where it may not look
        raise UsageError(f"{path} exists and is not a saved chat", remedy="name another file")
    document = {"format": _MARK, "version": _VERSION, **asdict(conversation)}
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(path)
    except (OSError, ValueError) as error:  # ValueError: half a character, which some terminals paste
        with contextlib.suppress(OSError, ValueError):
            partial.unlink(missing_ok=True)
        raise UsageError(f"cannot write {path}", why=getattr(error, "strerror", None) or str(error)) from error


def load(path: Path) -> Conversation:
    """The model is that of the file: whoever goes on with another changes it. UsageError for what is no saved chat."""
    try:
        document = parse_json(path.read_text(encoding="utf-8"))
        if document["format"] != _MARK:
            raise ValueError("it was not written by /save")
        messages = [{"role": str(each["role"]), "content": str(each["content"])} for each in document["messages"]]
        sampling = {name: value for name, value in document["sampling"].items() if name in SAMPLING}
        return Conversation(str(document["model"]), str(document["system"]), sampling, messages)
    except OSError as error:
        raise UsageError(f"cannot read {path}", why=error.strerror or str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is not a saved chat", why=str(error), remedy="/save FILE writes one") from error


def _is_chat(path: Path) -> bool:
    try:
        load(path)
    except UsageError:
        return False
    return True
