from __future__ import annotations

from pathlib import Path

import pytest

from stoker.errors import UsageError
from stoker.resolve.reference import Demo, HubRepository, LocalDirectory, parse_reference


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("demo", Demo()),
        ("Qwen/Qwen2.5-0.5B-Instruct", HubRepository("Qwen/Qwen2.5-0.5B-Instruct", "main")),
        ("org/name@v1.0", HubRepository("org/name", "v1.0")),
        ("org/name@refs/pr/1", HubRepository("org/name", "refs/pr/1")),
        ("hf://org/name", HubRepository("org/name", "main")),
        ("hf://org/name@" + "a" * 40, HubRepository("org/name", "a" * 40)),
        ("/models/llama", LocalDirectory(Path("/models/llama"))),
        ("./llama", LocalDirectory(Path("llama"))),
        ("../llama", LocalDirectory(Path("../llama"))),
        (".", LocalDirectory(Path())),
    ],
)
def test_forms(text: str, expected: object) -> None:
    assert parse_reference(text) == expected


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert parse_reference("~/llama") == LocalDirectory(Path("/home/somebody/llama"))


def test_an_existing_directory_needs_no_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert parse_reference("org/name") == LocalDirectory(Path("org/name"))
    assert parse_reference("org") == LocalDirectory(Path("org"))
    assert parse_reference("hf://org/name") == HubRepository("org/name")


@pytest.mark.parametrize(
    ("text", "suggestions"),
    [
        ("", ["org/name"]),
        ("gpt2", ["`org/gpt2`", "`./gpt2`"]),
        ("dmeo", ["`demo`"]),
        ("https://huggingface.co/org/name/tree/v1", ["`org/name@v1`"]),
        ("https://huggingface.co/org/name", ["`org/name`"]),
        ("s3://bucket/name", ["s3://"]),
        ("org/name/extra", ["`org/name`", "`./org/name/extra`"]),
        ("org/na me", ["letters"]),
        ("org/name@", ["letters"]),
        ("org/../name", ["./org/../name"]),
        ("org/name@../../etc", ["org/name"]),
        ("hf://name", ["`org/name`"]),
        ("~nobody-of-this-name/llama", ["names no directory"]),
    ],
)
def test_anything_else_is_refused_with_the_nearest_form(text: str, suggestions: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse_reference(text)
    assert caught.value.exit_code == 64
    assert all(suggestion in str(caught.value) for suggestion in suggestions)
