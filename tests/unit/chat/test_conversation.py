"""Messages, sampling and saved files of a chat."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.chat.commands import command_names, run_command
from stoker.chat.conversation import Conversation, load, save
from stoker.chat.editor import is_open, without_marks
from stoker.errors import UsageError


@pytest.fixture
def conversation() -> Conversation:
    chat = Conversation("demo", "be brief", {"temperature": 0.5})
    chat.say("hello")
    chat.answered("hi")
    return chat


def test_a_request_has_the_system_prompt_first_and_only_what_was_set(conversation: Conversation) -> None:
    conversation.say("more")
    body = conversation.request()
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "user"]
    assert (body["model"], body["temperature"]) == ("demo", 0.5)
    assert "max_tokens" not in body


def test_what_is_saved_is_loaded_again(conversation: Conversation, tmp_path: Path) -> None:
    save(conversation, tmp_path / "chat.json")
    assert load(tmp_path / "chat.json") == conversation
    save(conversation, tmp_path / "chat.json")
    assert [path.name for path in tmp_path.iterdir()] == ["chat.json"]


def test_no_other_file_is_written_over(conversation: Conversation, tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text('{"mine": 1}')
    with pytest.raises(UsageError, match="is not a saved chat"):
        save(conversation, tmp_path / "notes.json")
    assert (tmp_path / "notes.json").read_text() == '{"mine": 1}'


@pytest.mark.parametrize("name", ["a" * 300, "\x00"])
def test_a_file_that_cannot_be_is_told(conversation: Conversation, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        save(conversation, tmp_path / name)


def test_a_text_that_no_file_can_have_leaves_the_file_that_is_there(conversation: Conversation, tmp_path: Path) -> None:
    save(conversation, tmp_path / "chat.json")
    before = (tmp_path / "chat.json").read_text()
    conversation.say("half a character: \udce9")
    with pytest.raises(UsageError, match="cannot write"):
        save(conversation, tmp_path / "chat.json")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"chat.json": before}


def test_escapes_of_a_stop_leave_other_letters_as_they_are(conversation: Conversation) -> None:
    conversation.set("stop", "é模\\n")
    assert conversation.sampling["stop"] == ["é模\n"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "stoker-chat"}', '{"format": "other"}', "\x00"])
def test_what_is_no_saved_chat_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "chat.json").write_text(content)
    with pytest.raises(UsageError, match="not a saved chat"):
        load(tmp_path / "chat.json")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("/set temprature 1", "did you mean temperature"),
        ("/set temperature warm", "give a number"),
        ("/set max_tokens 1.5", "give a whole number"),
        ("/sytem x", "did you mean /system"),
        ("/save", "needs a file"),
        ("/load /nowhere/at/all", "cannot read"),
    ],
)
def test_a_wrong_command_says_what_would_be_right(conversation: Conversation, line: str, error: str) -> None:
    with pytest.raises(UsageError, match=error):
        run_command(line, conversation)


def test_commands_change_the_conversation(conversation: Conversation) -> None:
    run_command("/set temperature default", conversation)
    run_command("/set stop END", conversation)
    run_command("/system off", conversation)
    assert (conversation.sampling, conversation.system) == ({"stop": ["END"]}, "")
    assert run_command("/retry", conversation).answer
    assert [message["content"] for message in conversation.messages] == ["hello"]
    run_command("/clear", conversation)
    assert conversation.messages == []
    assert run_command("/bye", conversation).leave


def test_the_help_names_every_command(conversation: Conversation) -> None:
    text = run_command("/help", conversation).text
    assert all(name in text for name in command_names())


def test_a_text_of_several_lines_is_open_until_its_marks_are_closed() -> None:
    assert is_open('"""a\nb')
    assert not is_open('"""a\nb"""')
    assert not is_open("a")
    assert without_marks('"""\na\nb\n"""') == "a\nb"
    assert without_marks("a") == "a"
