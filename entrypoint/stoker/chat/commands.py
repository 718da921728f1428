"""What begins with a slash in a chat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stoker.chat.conversation import SAMPLING, Conversation, load, save
from stoker.errors import UsageError
from stoker.nearest import nearest

_LEAVE = ("/bye", "/exit", "/quit")


@dataclass(frozen=True)
class Outcome:
    """What to print, and what is next."""

    text: str = ""
    leave: bool = False
    answer: bool = False


def run_command(line: str, conversation: Conversation) -> Outcome:
    """UsageError for an unknown command, or for one that cannot be done."""
    name, _, rest = line.strip().partition(" ")
    if name in _LEAVE:
        return Outcome(leave=True)
    if name not in _COMMANDS:
        near = nearest(name, [*_COMMANDS, *_LEAVE])
        remedy = f"did you mean {near}?" if near else "/help lists the commands"
        raise UsageError(f"unknown command: {name}", remedy=f"{remedy} A text may begin with a space and a slash")
    return _COMMANDS[name].run(conversation, rest.strip())


def command_names() -> tuple[str, ...]:
    return (*_COMMANDS, _LEAVE[0])


def _help(_: Conversation, __: str) -> Outcome:
    rows = [(f"{name} {command.takes}".strip(), command.help) for name, command in _COMMANDS.items()]
    rows += [
        (_LEAVE[0], "leave; also Ctrl-D"),
        ("Ctrl-C", "stop the answer, or clear the line"),
        ("Alt-Enter", 'start a new line; """ on a line of its own begins and ends a text of several lines'),
    ]
    width = max(len(name) for name, _ in rows)
    return Outcome("\n".join(f"{name:<{width}}  {told}" for name, told in rows))


def _system(conversation: Conversation, rest: str) -> Outcome:
    if not rest:
        return Outcome(conversation.system or "no system prompt; /system TEXT sets one")
    conversation.system = "" if rest == "off" else rest
    return Outcome("system prompt removed" if rest == "off" else "system prompt set")


def _set(conversation: Conversation, rest: str) -> Outcome:
    name, _, value = rest.partition(" ")
    if not value.strip():
        if name and name not in SAMPLING:
            conversation.set(name, "default")
        return Outcome(_sampling(conversation, [name] if name else list(SAMPLING)))
    conversation.set(name, value.strip())
    return Outcome(_sampling(conversation, [name]))


def _sampling(conversation: Conversation, names: list[str]) -> str:
    width = max(map(len, names))
    rows = [(name, conversation.sampling.get(name, "default"), SAMPLING[name][1]) for name in names]
    return "\n".join(f"{name:<{width}}  {value!s:<8} {told}" for name, value, told in rows)


def _save(conversation: Conversation, rest: str) -> Outcome:
    path = _path(rest, "/save")
    save(conversation, path)
    return Outcome(f"saved {len(conversation.messages)} messages to {path}")


def _load(conversation: Conversation, rest: str) -> Outcome:
    path = _path(rest, "/load")
    loaded = load(path)
    conversation.system, conversation.sampling = loaded.system, loaded.sampling
    conversation.messages[:] = loaded.messages
    return Outcome(f"loaded {len(loaded.messages)} messages from {path}")


def _path(text: str, command: str) -> Path:
    if not text:
        raise UsageError(f"{command} needs a file", remedy=f"{command} chat.json")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{text} names no file", why=str(error)) from error


def _clear(conversation: Conversation, _: str) -> Outcome:
    conversation.messages.clear()
    return Outcome("the model has forgotten the conversation; system prompt and sampling stay")


def _retry(conversation: Conversation, _: str) -> Outcome:
    if not conversation.take_back_answer():
        raise UsageError("there is nothing to answer yet")
    return Outcome(answer=True)


@dataclass(frozen=True)
class _Command:
    takes: str
    help: str
    run: Callable[[Conversation, str], Outcome]


_COMMANDS: Mapping[str, _Command] = {
    "/system": _Command("[TEXT|off]", "show, set or remove the system prompt", _system),
    "/set": _Command("[NAME [VALUE]]", "show or set sampling, as in /set temperature 0.7", _set),
    "/retry": _Command("", "answer the last message again", _retry),
    "/clear": _Command("", "forget the conversation", _clear),
    "/save": _Command("FILE", "write the conversation to a file", _save),
    "/load": _Command("FILE", "go on with a saved conversation", _load),
    "/help": _Command("", "show this", _help),
}
