"""What a chat keeps when an answer fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from stoker.chat.conversation import Conversation
from stoker.chat.session import Session
from stoker.errors import ServerError, ServerUnreachableError
from stoker.servers.endpoint import Endpoint, Piece


class Failing(Endpoint):
    def answer(self, body: Mapping[str, Any]) -> Iterator[Piece]:
        yield Piece("ha")
        raise {"gone": ServerUnreachableError, "refuses": ServerError}[self.key]("it \x1b[2J failed")


def typed(*lines: str) -> Any:
    left = iter([*lines, "/bye"])
    return lambda: next(left)


@pytest.mark.parametrize("how", ["gone", "refuses"])
@pytest.mark.parametrize("line", ["more", "/retry"])
def test_what_fails_leaves_the_conversation_and_the_terminal_as_they_were(how: str, line: str) -> None:
    conversation, written = Conversation("demo"), list[str]()
    conversation.say("hello")
    conversation.answered("hi")
    before = [*conversation.messages]
    Session(Failing("http://server", how), conversation, written.append, styled=False).converse(typed(line))
    assert conversation.messages == before
    assert "error: it [2J failed\n" in written
