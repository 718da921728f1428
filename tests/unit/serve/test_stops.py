"""Stop strings are found wherever the text is cut."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.serve.generate.stops import StopMatcher


def whole_text_search(text: str, stops: list[str]) -> tuple[str, bool]:
    """The stop string that is complete first ends the text; of several that end together, the longest."""
    for end in range(1, len(text) + 1):
        lengths = [len(stop) for stop in stops if text[:end].endswith(stop)]
        if lengths:
            return text[: end - max(lengths)], True
    return text, False


def in_pieces(text: str, stops: list[str], cuts: list[int]) -> tuple[str, bool]:
    matcher = StopMatcher(stops)
    given_out = ""
    bounds = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    for start, end in pairwise(bounds):
        piece, found = matcher.feed(text[start:end])
        given_out += piece
        if found:
            return given_out, True
    return given_out + matcher.flush(), False


few_letters = st.text("abc", max_size=30)


@settings(max_examples=400)
@given(
    few_letters,
    st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=4),
    st.lists(st.integers(0, 30), max_size=8),
)
def test_any_chunking_gives_what_a_search_of_the_whole_text_gives(text: str, stops: list[str], cuts: list[int]) -> None:
    assert in_pieces(text, stops, cuts) == whole_text_search(text, stops)


@settings(max_examples=100)
@given(few_letters, st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=4))
def test_no_more_is_held_back_than_may_become_a_stop_string(text: str, stops: list[str]) -> None:
    matcher = StopMatcher(stops)
    shown, found = matcher.feed(text)
    if not found:
        held = text[len(shown) :]
        assert held == "" or any(stop.startswith(held) and stop != held for stop in stops)


def test_a_held_back_prefix_is_given_out_when_it_comes_to_nothing() -> None:
    matcher = StopMatcher(["STOP"])
    assert matcher.feed("a ST") == ("a ", False)
    assert matcher.feed("ART ST") == ("START ", False)
    assert matcher.flush() == "ST"
