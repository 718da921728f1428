"""YAML that others wrote: a value, or one error."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import UsageError
from stoker.plan.located import parse
from stoker.probe.description_file import read_description
from stoker.settings.file import read_file
from stoker.yaml_text import YamlError, parse_yaml

DAMAGED = {
    "a control character": "name: \x07",
    "no character": "name: \0",
    "an undefined alias": "name: *other",
    "half a string": 'name: "',
    "two documents": "name: 1\n---\nname: 2",
    "too deep": "name: " + "[" * 5_000,
}
# Composed, these are YAML.
UNSUITABLE = {
    "a month too many": ("one: 1\nname: 2026-13-01", 2, "'2026-13-01' cannot be read as a value of type timestamp"),
    "a number too long": (f"name: {'9' * 5_000}", 1, "of type int"),
    "no timestamp": ("name: !!timestamp now", 1, "'now' cannot be read as a value of type timestamp"),
    "no integer": ("- 1\n- !!int ''", 2, "'' cannot be read as a value of type int"),
    "no float": ("name: [1.5, !!float high]", 1, "'high' cannot be read as a value of type float"),
    "no truth": ("name: {deep: !!bool maybe}", 1, "'maybe' cannot be read as a value of type bool"),
    "a key": ("\n!!bool perhaps: 1", 2, "'perhaps' cannot be read"),
    "a list as a key": ("? [a]\n: b", 1, "found unhashable key"),
    "bytes": ("name: !!binary x", 1, "failed to decode base64"),
    "a class": ("name: !!python/object:os.system 1", 1, "could not determine a constructor"),
    "a document in itself": ("&all [*all, !!int x]", 1, "'x' cannot be read"),
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("read", [read_file, read_description, lambda path: parse(path.read_text(), str(path))])
def test_damage_is_refused_wherever_yaml_is_read(read: Callable[[Path], object], text: str, tmp_path: Path) -> None:
    path = tmp_path / "given.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"given\.yaml.*not YAML"):
        read(path)


@pytest.mark.parametrize(("text", "line", "problem"), UNSUITABLE.values(), ids=UNSUITABLE)
def test_a_value_that_does_not_suit_its_type_is_named(text: str, line: int, problem: str) -> None:
    with pytest.raises(YamlError) as caught:
        parse_yaml(text)
    assert caught.value.line == line
    assert problem in str(caught.value)


def test_a_profile_has_names_as_keys() -> None:
    with pytest.raises(UsageError, match=r"mine\.yaml, line 2: a list or mapping where a field's name belongs"):
        parse("one: 1\n? [a]\n: b", "mine.yaml")


@given(st.one_of(st.text("ab:- \n[]{}&*!?'\"#|>%@`,0x1._T\x07\ud7ff"), st.binary()))
def test_whatever_the_text_there_is_a_value_or_one_error(text: str | bytes) -> None:
    with contextlib.suppress(YamlError):
        parse_yaml(text)


def test_what_is_not_damaged_is_read() -> None:
    assert parse_yaml("a: &x [1, 2.5, yes]\nb: *x\nc: ~") == {"a": [1, 2.5, True], "b": [1, 2.5, True], "c": None}
    assert parse_yaml("") is None
