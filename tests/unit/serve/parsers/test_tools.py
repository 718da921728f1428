"""Each family's calls become the same events, however the text is cut."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.serve.answer.events import CallArguments, CallStart, Event, Reasoning, Text, joined
from stoker.serve.answer.parsers.families import GRANITE, HERMES, LLAMA, PHI4
from stoker.serve.answer.parsers.mistral import MISTRAL
from stoker.serve.answer.parsers.pythonic import GEMMA, PYTHONIC
from stoker.serve.answer.parsers.reasoning import THINK, ReasoningParser
from stoker.serve.answer.parsers.tools import Form, ToolParser

TOOLS = ("weather", "add", "note")
FORMS = {"hermes": HERMES, "llama": LLAMA, "granite": GRANITE, "phi4": PHI4, "mistral": MISTRAL,
         "pythonic": PYTHONIC, "gemma": GEMMA}  # fmt: skip

SAID: list[tuple[str, str, list[Any]]] = [
    ("hermes", 'Let me see.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call>',
     ["Let me see.", ("weather", {"city": "Bonn"})]),
    ("hermes", '<tool_call>{"name":"add","arguments":{"a":1,"b":[2,{"c":"}"}]}}</tool_call>\n<tool_call>\n'
     '{"arguments": {}, "name": "note"}\n</tool_call>\n Done.',
     [("add", {"a": 1, "b": [2, {"c": "}"}]}), ("note", {}), "Done."]),
    ("hermes", '<tool_call>{"name": "note", "arguments": {"text": "a \\"quoted\\" </tool_call> and \\\\"}}</tool_call>',
     [("note", {"text": 'a "quoted" </tool_call> and \\'})]),
    ("hermes", '<tool_call>{"name": "unheard_of", "arguments": {}}</tool_call> said',
     ['<tool_call>{"name": "unheard_of", "arguments": {}}</tool_call> said']),
    ("hermes", "a < b and <tool_ca", ["a < b and <tool_ca"]),
    ("hermes", "<tool_call>nonsense</tool_call>", ["<tool_call>nonsense</tool_call>"]),
    ("hermes", '<tool_call>{"name": "add"', [("add", None)]),
    ("hermes", "plain text  \n", ["plain text  \n"]),
    ("llama", '{"name": "weather", "parameters": {"city": "K\\u00f6ln"}}', [("weather", {"city": "Köln"})]),
    ("llama", '<|python_tag|>{"name": "add", "parameters": {"a": 1}}; {"name": "note", "parameters": {"text": ""}}',
     [("add", {"a": 1}), ("note", {"text": ""})]),
    ("llama", '{"answer": 42, "name": 7}', ['{"answer": 42, "name": 7}']),
    ("llama", '{"result": true}', ['{"result": true}']),
    ("llama", "Here: {}", ["Here: {}"]),
    ("llama", '{"type": "function", "function": {"name": "add", "arguments": "{\\"a\\": 1}"}}', [("add", {"a": 1})]),
    ("granite", '<|tool_call|>[{"name": "add", "arguments": {"a": 1}}, {"name": "note", "arguments": {}}]',
     [("add", {"a": 1}), ("note", {})]),
    ("phi4", 'functools[{"name": "weather", "arguments": {"city": "Rom"}}]', [("weather", {"city": "Rom"})]),
    ("phi4", '<|tool_call|>[{"type": "function", "function": {"name": "add", "arguments": {"a": 2}}}]<|/tool_call|>',
     [("add", {"a": 2})]),
    ("mistral", '[TOOL_CALLS] [{"name": "add", "arguments": {"a": 1}, "id": "abcdefghi"}]', [("add", {"a": 1})]),
    ("mistral", '[TOOL_CALLS]add[ARGS]{"a": 1}[TOOL_CALLS]note[CALL_ID]x1[ARGS]{"text": "{"}',
     [("add", {"a": 1}), ("note", {"text": "{"})]),
    ("mistral", "[TOOL_CALLS]what is this", ["[TOOL_CALLS]what is this"]),
    ("pythonic", '[weather(city="Bonn", days=3), add(a=1, b=[2, {"c": "x)"}]), note()]',
     [("weather", {"city": "Bonn", "days": 3}), ("add", {"a": 1, "b": [2, {"c": "x)"}]}), ("note", {})]),
    ("pythonic", "<|python_start|>[note(text='it\\'s', on=True, off=None)]<|python_end|>",
     [("note", {"text": "it's", "on": True, "off": None})]),
    ("pythonic", "[1, 2, 3]", ["[1, 2, 3]"]),
    ("pythonic", "[see the note]", ["[see the note]"]),
    ("gemma", '```tool_code\nweather(city="Bonn")\n```', [("weather", {"city": "Bonn"})]),
]  # fmt: skip


def plain(events: list[Event]) -> list[Any]:
    """Texts, and (name, arguments) of each call."""
    said: list[Any] = []
    for event in joined(events):
        if isinstance(event, (Text, Reasoning)):
            said.append(event.text)
        elif isinstance(event, CallStart):
            said.append((event.name, ""))
        else:
            name, before = said[-1]
            said[-1] = (name, before + event.text)
    return [(part[0], _loaded(part[1])) if isinstance(part, tuple) else part for part in said]


def _loaded(arguments: str) -> Any:
    """None where the text ended before the arguments did."""
    try:
        return json.loads(arguments)
    except ValueError:
        return None


def parsed(parser: Any, pieces: list[str]) -> list[Event]:
    events = [event for piece in pieces for event in parser.feed(piece)]
    return events + parser.end()


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    ends = sorted({min(cut, len(text)) for cut in cuts} | {len(text)})
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@pytest.mark.parametrize(("family", "text", "expected"), SAID)
def test_a_familys_calls_are_read(family: str, text: str, expected: list[Any]) -> None:
    for pieces in ([text], list(text)):
        events = parsed(ToolParser(FORMS[family], TOOLS), pieces)
        assert plain(events) == expected
        starts = [event for event in events if isinstance(event, CallStart)]
        assert [start.index for start in starts] == list(range(len(starts)))
        assert len({start.id for start in starts}) == len(starts)


def _without_ids(events: list[Event]) -> list[Event]:
    return [CallStart(e.index, "", e.name) if isinstance(e, CallStart) else e for e in joined(events)]


_FRAGMENTS = [
    *("<tool_call>", "</tool_call>", '{"name": "add", "arguments": {"a": "x"}}', '{"name": "add"', "\n", " ", "{", "}"),
    *(
        "[",
        "]",
        "[TOOL_CALLS]",
        "add[ARGS]{}",
        "add(a=1)",
        "[note(text='\\'')]",
        ",",
        ";",
        "text",
        "<think>",
        "</think>",
    ),
    *("```tool_code\n", "```", "functools[", '"', "\\", "<|python_tag|>", "note", "(", ")", "<tool", "a=", "[ARGS]"),
]


@settings(max_examples=400, derandomize=True)
@given(
    st.sampled_from(sorted(FORMS)),
    st.lists(st.sampled_from(_FRAGMENTS), max_size=12).map("".join),
    st.lists(st.integers(0, 200), max_size=6),
    st.sampled_from([None, True, False]),
)
def test_however_a_text_is_cut_the_events_are_the_same(
    family: str, text: str, cuts: list[int], begun: bool | None
) -> None:
    def events(pieces: list[str]) -> list[Event]:
        return _without_ids(parsed(ReasoningParser(THINK, ToolParser(FORMS[family], TOOLS), begun), pieces))

    assert events(pieces_of(text, cuts)) == events([text]) == events(list(text))


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=9,
)


@settings(max_examples=100, derandomize=True)
@given(_values)
def test_any_arguments_come_through(value: Any) -> None:
    call = json.dumps({"name": "note", "arguments": {"value": value}}, ensure_ascii=False)
    written = {
        "hermes": f"<tool_call>\n{call}\n</tool_call>",
        "granite": f"<|tool_call|>[{call}]",
        "llama": call,
        "mistral": f"[TOOL_CALLS][{call}]",
        "pythonic": f"[note(value={value!r})]",
    }
    for family, text in written.items():
        assert plain(parsed(ToolParser(FORMS[family], TOOLS), list(text))) == [("note", {"value": value})]


def test_arguments_are_streamed_as_they_come() -> None:
    parser = ToolParser(HERMES, TOOLS)
    parser.feed('<tool_call>{"name": "note", "arguments": {"text": "')
    for piece in ("one ", "two ", "three"):
        assert parser.feed(piece) == [CallArguments(0, piece)]


def test_the_work_is_linear_in_the_text() -> None:
    """Counted, not timed: how many characters the parser looks at again."""
    text = '<tool_call>{"name": "note", "arguments": {"text": "' + "x" * 20_000 + '"}}</tool_call>'
    parser = ToolParser(HERMES, TOOLS)
    longest = 0
    for character in text:
        parser.feed(character)
        longest = max(longest, len(parser._pending), sum(map(len, parser._raw)))
    assert longest < 200


@pytest.mark.parametrize(
    ("begun", "text", "thought", "answer"),
    [
        (None, "<think>\nhm\n</think>\n\nyes", "hm", "yes"),
        (None, "\n<think>hm</think>", "hm", ""),
        (None, "no thinking", "", "no thinking"),
        (None, "<thin", "", "<thin"),
        (True, "hm </thin </think> yes", "hm </thin", "yes"),
        (True, "never ends", "never ends", ""),
        (False, "<think>said", "", "<think>said"),
    ],
)
def test_thinking_is_split_off(begun: bool | None, text: str, thought: str, answer: str) -> None:
    class Plain:
        def feed(self, text: str) -> list[Event]:
            return [Text(text)] if text else []

        def end(self) -> list[Event]:
            return []

    for pieces in ([text], list(text)):
        events = parsed(ReasoningParser(THINK, Plain(), begun), pieces)
        assert "".join(e.text for e in events if isinstance(e, Reasoning)) == thought
        assert "".join(e.text for e in events if isinstance(e, Text)) == answer


def test_random_text_never_breaks_a_parser() -> None:
    random_ = random.Random(3)
    for _ in range(300):
        text = "".join(random_.choice(_FRAGMENTS) for _ in range(random_.randrange(30)))
        for form in FORMS.values():
            assert isinstance(form, Form)
            kept = "".join(e.text for e in parsed(ToolParser(form, ()), list(text)) if isinstance(e, Text))
            # with no tools at all nothing is a call, and nothing but blanks may be lost
            assert re.sub(r"\s", "", kept) == re.sub(r"\s", "", text)
