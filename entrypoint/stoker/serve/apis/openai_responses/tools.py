"""The tools of a request of the Responses API as functions, which is all that models call.

A function within a namespace goes by a name that has both. A custom tool, whose input is free text, is a function of
that text. Tools that OpenAI's own servers run have no one here to run them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from stoker.serve.apis.openai_responses.requests import ClientTool, Tool
from stoker.serve.http.errors import ApiError, invalid, unsupported
from stoker.serve.http.ignored import ignore_parameter

_CLIENTS = ("function", "custom")
_FREE_TEXT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}


@dataclass(frozen=True)
class Offered:
    """`tool` as the client knows it."""

    tool: ClientTool
    namespace: str | None = None

    @property
    def name(self) -> str:
        """As the model knows it."""
        return flat_name(self.tool.name, self.namespace)

    @property
    def custom(self) -> bool:
        return self.tool.type == "custom"

    def called(self) -> dict[str, str]:
        """What the item of a call says of it."""
        within = {} if self.namespace is None else {"namespace": self.namespace}
        return {"name": self.tool.name, **within}

    def function(self) -> dict[str, object]:
        """In the form of a chat request."""
        tool = self.tool
        parameters = _FREE_TEXT if self.custom else tool.parameters
        given = {"description": tool.description, "parameters": parameters, "strict": tool.strict}
        function = {"name": self.name} | {name: value for name, value in given.items() if value is not None}
        return {"type": "function", "function": function}


def flat_name(name: str, namespace: str | None) -> str:
    return name if namespace is None else f"{namespace}__{name}"


def offered(tools: Sequence[Tool]) -> list[Offered]:
    """Those that the client runs. Others are passed over beside them, and refused alone: the answer would be made
    without all that the request offers. ApiError naming the tool."""
    ours = [each for index, tool in enumerate(tools) for each in _of(tool, f"tools[{index}]")]
    for index, tool in enumerate(tools):
        if tool.type not in (*_CLIENTS, "namespace"):
            text = f"Nothing here runs tools of type '{tool.type[:40]}': only functions, which the client runs."
            if not ours:
                raise unsupported(f"tools[{index}].type", text)
            ignore_parameter(f"tools[{index}] ({tool.type[:40]})", text)
    return ours


def _of(tool: Tool, where: str) -> Iterator[Offered]:
    if tool.type in _CLIENTS:
        _check_format(tool, where)
        yield Offered(tool)
    if tool.type == "namespace":
        for index, inner in enumerate(tool.tools or ()):
            _check_format(inner, f"{where}.tools[{index}]")
            if inner.type not in _CLIENTS:
                raise unsupported(f"{where}.tools[{index}].type", "A namespace has functions and custom tools.")
            yield Offered(inner, tool.name)


def _check_format(tool: ClientTool, where: str) -> None:
    if tool.format is not None and tool.format.get("type") != "text":
        text = "The input of a custom tool cannot be held to a grammar here; leave 'format' out."
        raise unsupported(f"{where}.format", text)


def choice(wanted: object) -> object:
    """Here a tool is named beside its type, in chat within an object."""
    if wanted is None or wanted in ("none", "auto", "required"):
        return wanted
    if isinstance(wanted, dict) and wanted.get("type") == "allowed_tools":
        return _allowed(wanted)
    return _named(wanted)


def _allowed(wanted: Mapping[str, object]) -> dict[str, object]:
    tools, mode = wanted.get("tools"), wanted.get("mode")
    if not isinstance(tools, list) or mode not in ("auto", "required"):
        raise _no_choice()
    ours = [_named(tool) for tool in tools if isinstance(tool, dict) and tool.get("type") in _CLIENTS]
    if not ours:
        raise invalid("'tool_choice' allows no tool that the client runs.", "tool_choice")
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": ours}}


def _named(wanted: object) -> dict[str, object]:
    if (
        not isinstance(wanted, dict)
        or wanted.get("type") not in _CLIENTS
        or set(wanted) - {"type", "name", "namespace"}
    ):
        raise _no_choice()
    name, namespace = wanted.get("name"), wanted.get("namespace")
    if not isinstance(name, str) or not isinstance(namespace, str | None):
        raise _no_choice()
    return {"type": "function", "function": {"name": flat_name(name, namespace)}}


def _no_choice() -> ApiError:
    text = "'tool_choice' is none, auto, required, {'type': 'function', 'name': ...} or 'allowed_tools' of such."
    return unsupported("tool_choice", text)
