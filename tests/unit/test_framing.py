"""Messages in a stream of bytes."""

from __future__ import annotations

from itertools import chain

import pytest

from stoker.framing import Unframer, framed

MESSAGES = [[1, "a", None], [], [2, bytes(300), {"b": [1.5]}]]


@pytest.mark.parametrize("size", [1, 3, 5, 1000])
def test_messages_come_out_whole_however_they_arrive(size: int) -> None:
    stream, unframer = b"".join(map(framed, MESSAGES)), Unframer()
    pieces = [stream[begin : begin + size] for begin in range(0, len(stream), size)]
    assert list(chain.from_iterable(map(unframer.feed, pieces))) == MESSAGES


def test_a_message_comes_out_as_soon_as_it_is_whole() -> None:
    unframer, (first, second) = Unframer(), map(framed, MESSAGES[::2])
    assert unframer.feed(first + second[:-1]) == [MESSAGES[0]]
    assert unframer.feed(second[-1:]) == [MESSAGES[2]]
