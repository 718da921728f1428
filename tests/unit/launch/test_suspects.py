"""A request that takes the engine down is blamed for it, and is not taken again; nobody else is."""

from __future__ import annotations

import contextlib

import pytest

from stoker.launch.generation import EBNF_GRAMMAR, EngineDiedError, Generation, Guide, RequestRefusedError
from stoker.launch.suspects import Suspects


def with_grammar(name: str) -> Generation:
    return Generation("x", [1], max_tokens=4, guide=Guide(EBNF_GRAMMAR, f"root ::= {name}"))


PLAIN = Generation("x", [1], max_tokens=4)


def test_a_new_grammar_in_flight_at_a_death_is_blamed_and_refused_from_then_on() -> None:
    suspects = Suspects()
    with suspects.watch(PLAIN), suspects.watch(with_grammar("a")), suspects.watch(with_grammar("a")):
        assert "grammar" in suspects.blame()
    with pytest.raises(RequestRefusedError), suspects.watch(with_grammar("a")):
        pass
    with suspects.watch(with_grammar("b")), suspects.watch(PLAIN):
        pass


def test_a_death_that_ended_the_request_before_it_was_noticed_counts() -> None:
    suspects = Suspects()
    with contextlib.suppress(EngineDiedError), suspects.watch(with_grammar("a")):
        raise EngineDiedError("it exited")
    assert suspects.blame()
    assert not suspects.blame()


def test_a_grammar_that_was_followed_before_is_not_blamed() -> None:
    suspects = Suspects()
    with suspects.watch(with_grammar("a")):
        pass
    with suspects.watch(with_grammar("a")):
        assert suspects.blame() == ""
    with suspects.watch(with_grammar("a")):
        pass


def test_of_several_new_ones_none_is_blamed() -> None:
    suspects = Suspects()
    with suspects.watch(with_grammar("a")), suspects.watch(with_grammar("b")):
        assert suspects.blame() == ""


def test_requests_without_a_grammar_are_not_blamed() -> None:
    suspects = Suspects()
    with suspects.watch(PLAIN):
        assert suspects.blame() == ""


def test_a_cancelled_request_has_shown_nothing() -> None:
    suspects = Suspects()
    with contextlib.suppress(GeneratorExit), suspects.watch(with_grammar("a")):
        raise GeneratorExit
    assert suspects.blame() == ""
    with suspects.watch(with_grammar("a")):
        assert suspects.blame()
