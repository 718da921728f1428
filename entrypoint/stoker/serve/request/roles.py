"""Conversations for chat templates that take fewer orders of roles than clients send.

Agents put several system messages first and more of them later on; many models' templates take one, at the head, or
none at all, and want user and assistant to alternate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

_Message = dict[str, Any]


def simpler(messages: Sequence[_Message]) -> Iterator[list[_Message]]:
    """The same conversation in stricter orders, the nearest first; nothing where it has no system message."""
    head = [message["content"] for message in takewhile(_is_system, messages)]
    rest = _alternating([_by_user(message) for message in messages[len(head) :]])
    system = "\n\n".join(head)
    if len(head) > 1 or rest != list(messages[len(head) :]):
        yield [*([{"role": "system", "content": system}] if head else []), *rest]
    if head:
        yield _alternating([{"role": "user", "content": system}, *rest])


def _is_system(message: _Message) -> bool:
    return bool(message["role"] == "system")


def _by_user(message: _Message) -> _Message:
    return {**message, "role": "user"} if _is_system(message) else message


def _alternating(messages: Sequence[_Message]) -> list[_Message]:
    """Neighbouring messages of the user's as one."""
    joined: list[_Message] = []
    for message in messages:
        if joined and message["role"] == joined[-1]["role"] == "user":
            joined[-1] = {**joined[-1], "content": f"{joined[-1]['content']}\n\n{message['content']}"}
        else:
            joined.append(message)
    return joined
