"""What an answer consists of, whatever the API that it is given in: text, reasoning, and calls of tools, in order.

A call begins with its name and goes on with its arguments, JSON in pieces as they come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from stoker.json_text import parse_json


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Reasoning:
    text: str


@dataclass(frozen=True)
class CallStart:
    """`index` counts the calls of one answer from 0; `id` is unique."""

    index: int
    id: str
    name: str


@dataclass(frozen=True)
class CallArguments:
    """The next piece of the arguments of call `index`."""

    index: int
    text: str


Event: TypeAlias = Text | Reasoning | CallStart | CallArguments


class Parser(Protocol):
    """Makes events of text that arrives in pieces; however it is cut, the events joined are the same."""

    def feed(self, text: str) -> list[Event]: ...

    def end(self) -> list[Event]:
        """What was held back, when no more text comes."""
        ...


class PlainText:
    """Text is text."""

    def feed(self, text: str) -> list[Event]:
        return [Text(text)] if text else []

    def end(self) -> list[Event]:
        return []


def joined(events: list[Event]) -> list[Event]:
    """Neighbouring pieces of the same thing as one."""
    whole: list[Event] = []
    for event in events:
        last = whole[-1] if whole else None
        if isinstance(event, (Text, Reasoning)) and isinstance(last, type(event)):
            whole[-1] = type(event)(last.text + event.text)
        elif isinstance(event, CallArguments) and isinstance(last, CallArguments) and last.index == event.index:
            whole[-1] = CallArguments(event.index, last.text + event.text)
        else:
            whole.append(event)
    return whole


def arguments_object(text: str) -> dict[str, object]:
    """All of a call's arguments, for APIs that give an object. What a model wrote freely, or was cut short in, need not
    be JSON; then it is told as it is, under one name."""
    try:
        value = parse_json(text or "{}")
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"arguments": text}
