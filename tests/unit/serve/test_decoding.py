"""Bodies as values of their types."""

from __future__ import annotations

import pytest
from msgspec import inspect

from stoker.serve.http import ignored
from stoker.serve.http.errors import ApiError
from stoker.serve.request.decoding import decoded
from stoker.serve.request.requests import ChatRequest

UNKNOWN = b'{"model": "demo", "messages": [{"role": "user", "content": "hi", "mood": "calm"}], "temperature": 0.5}'
WRONG = b'{"model": "demo", "messages": [{"role": "user", "content": 7}], "temperature": 0.5}'


def test_a_type_is_taken_apart_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes milliseconds, in which no other request is answered."""
    ignored.begin(reject=False)
    decoded(UNKNOWN, ChatRequest)

    def refuse(_: object) -> None:
        raise AssertionError("the type is known by now")

    monkeypatch.setattr(inspect, "type_info", refuse)
    assert decoded(UNKNOWN, ChatRequest).temperature == 0.5
    with pytest.raises(ApiError, match="content"):
        decoded(WRONG, ChatRequest)
