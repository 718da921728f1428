"""Which tools a request offers, which of them may be called, and whether one must be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from stoker.serve.http.errors import invalid
from stoker.serve.request.requests import ChatRequest, ChosenAllowed, ChosenFunction, FunctionTool, ToolChoice

MAX_TOOLS = 128
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class ToolUse:
    """`offered` are shown to the model; `callable` are the places in it of those that may be called. `named`: exactly
    this one must be. `several`: more than one call in an answer."""

    offered: tuple[FunctionTool, ...]
    callable: tuple[int, ...]
    must: bool
    named: bool
    several: bool

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.offered[index].function.name for index in self.callable)

    def strict(self, index: int) -> bool:
        """Whether the arguments of this one are to be as its schema says, by whosever choice it is called."""
        return bool(self.offered[index].function.strict)

    @property
    def first_strict(self) -> int | None:
        return next((index for index in self.callable if self.strict(index)), None)

    def for_template(self) -> list[dict[str, object]]:
        """As templates read them: OpenAI's form, as plain data, without what is not given."""
        return [{"type": "function", "function": _function(tool)} for tool in self.offered]


def tool_use(request: ChatRequest) -> ToolUse | None:
    """None where no tool may be called. ApiError naming what is wrong."""
    tools = request.tools or []
    _check_names(tools)
    mode, names = _choice(request.tool_choice, bool(tools))
    if not tools:
        if mode not in ("none", "auto"):
            raise invalid("'tool_choice' needs 'tools'.", "tool_choice")
        return None
    if mode == "none":
        return None
    places = {tool.function.name: index for index, tool in enumerate(tools)}
    for name in names or ():
        if name not in places:
            raise invalid(f"'tool_choice' names '{name[:64]}', which is not among the tools.", "tool_choice")
    callable_ = tuple(places[name] for name in names) if names is not None else tuple(range(len(tools)))
    several = mode != "named" and request.parallel_tool_calls is not False
    return ToolUse(tuple(tools), callable_, mode in ("required", "named"), mode == "named", several)


def _check_names(tools: Sequence[FunctionTool]) -> None:
    if len(tools) > MAX_TOOLS:
        raise invalid(f"More than {MAX_TOOLS} tools in one request.", "tools")
    seen: set[str] = set()
    for index, tool in enumerate(tools):
        name, where = tool.function.name, f"tools[{index}].function.name"
        if not _NAME.fullmatch(name):
            raise invalid(f"The name of a tool is 1 to 64 of A-Z a-z 0-9 _ . -, not '{name[:64]}'.", where)
        if name in seen:
            raise invalid(f"Two tools have the name '{name}'.", where)
        seen.add(name)


def _choice(choice: ToolChoice | None, offered: bool) -> tuple[str, list[str] | None]:
    """The mode (none, auto, required, named) and the names it is limited to; None for all."""
    if choice is None:
        return ("auto" if offered else "none"), None
    if isinstance(choice, ChosenFunction):
        return "named", [choice.function.name]
    if isinstance(choice, ChosenAllowed):
        allowed = choice.allowed_tools
        return allowed.mode, [tool.function.name for tool in allowed.tools]
    return choice, None


def _function(tool: FunctionTool) -> dict[str, object]:
    function = tool.function
    given = {"description": function.description, "parameters": function.parameters, "strict": function.strict}
    return {"name": function.name, **{name: value for name, value in given.items() if value is not None}}
