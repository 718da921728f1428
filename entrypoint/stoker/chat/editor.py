"""The line editor: history, completion of commands, texts of several lines. Only here is prompt_toolkit imported."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

PROMPT, _CONTINUATION = ">>> ", "... "
_BLOCK = '"""'


def line_reader(commands: Sequence[str]) -> Callable[[], str]:
    """Returns what a person types next. EOFError on Ctrl-D, KeyboardInterrupt on Ctrl-C."""
    session: PromptSession[str] = PromptSession(
        history=_history(),
        completer=WordCompleter(list(commands), sentence=True),
        complete_while_typing=Condition(lambda: _starts_command(session)),
        key_bindings=_keys(),
        multiline=True,
        prompt_continuation=_CONTINUATION,
    )
    return lambda: without_marks(session.prompt(PROMPT))


def _starts_command(session: PromptSession[str]) -> bool:
    return session.default_buffer.text.startswith("/")


def _keys() -> KeyBindings:
    """Enter sends, unless a block is open; Alt-Enter starts a new line."""
    keys = KeyBindings()

    @keys.add("enter")
    def send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_open(buffer.text):
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


def is_open(text: str) -> bool:
    """Whether a block in triple quotes has begun and not ended."""
    return text.lstrip().startswith(_BLOCK) and text.count(_BLOCK) % 2 == 1


def without_marks(text: str) -> str:
    stripped = text.strip()
    if stripped.startswith(_BLOCK) and stripped.endswith(_BLOCK) and len(stripped) >= 2 * len(_BLOCK):
        return stripped[len(_BLOCK) : -len(_BLOCK)].strip("\n")
    return text


def history_file() -> Path:
    """By the XDG base directory specification; RuntimeError for a user without a home."""
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (given if given.is_absolute() else Path("~/.local/state").expanduser()) / "stoker" / "chat-history"


def _history() -> History:
    """For its user's eyes alone; in memory where it cannot be written."""
    try:
        path = history_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except (OSError, RuntimeError):
        return InMemoryHistory()
    return FileHistory(str(path))
