"""The families of models that call tools: how each is recognised, read, and held to its own form when it must call."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.serve.answer.parsers.call import Call
from stoker.serve.answer.parsers.json_scan import CallObject
from stoker.serve.answer.parsers.mistral import MISTRAL
from stoker.serve.answer.parsers.pythonic import GEMMA, PYTHONIC
from stoker.serve.answer.parsers.tools import Form

_KEYS = ("arguments", "parameters")


def _reader(call: Call) -> CallObject:
    return CallObject(call, _KEYS)


def _form(marks: tuple[str, ...], ends: tuple[str, ...] = (), bare: tuple[str, ...] = ()) -> Form:
    return Form(marks, ends, bare, lambda character: character == "{", _reader)


HERMES = _form(("<tool_call>",), ("</tool_call>",))
LLAMA = _form(("<|python_tag|>",), (), ("{",))
GRANITE = _form(("<|tool_call|>", "<tool_call>"), ("</tool_call>",))
PHI4 = _form(("<|tool_call|>", "functools["), ("<|/tool_call|>",))


@dataclass(frozen=True)
class Held:
    """How calls are written when a grammar holds the model to it: `opening`, then each call between `before` and
    `after`, with `between` from one to the next, then `closing`. `form` reads that."""

    form: Form
    opening: str = ""
    before: str = ""
    after: str = ""
    between: str = ", "
    closing: str = ""
    arguments: str = "arguments"


# Calls as a whole text, for families whose own form a grammar cannot write.
BARE = Held(LLAMA, between="; ", arguments="parameters")


@dataclass(frozen=True)
class Own:
    """A way in which models call of their own accord: `mark` in their text, or no text but calls; `opening`, calls
    with `between` from one to the next (empty: there is one only), `closing`. A call is an object with `arguments`,
    or `named`: its name, this, and the arguments. `goes_on`: what follows may be text again."""

    mark: str
    opening: str = ""
    between: str = ""
    closing: str = ""
    arguments: str = "arguments"
    named: str = ""
    goes_on: bool = False


@dataclass(frozen=True)
class Family:
    """`signs`: any of them in a chat template marks this family. `own`: none where a grammar cannot write them."""

    name: str
    form: Form
    held: Held
    signs: tuple[str, ...]
    own: tuple[Own, ...] = ()


_MISTRAL = "[TOOL_CALLS]"
_LLAMA = tuple(Own(mark, between="; ", arguments="parameters") for mark in ("<|python_tag|>", ""))

FAMILIES = {  # settings.spec lists them too
    family.name: family
    for family in (
        Family(
            "hermes",
            HERMES,
            Held(HERMES, before="<tool_call>\n", after="\n</tool_call>", between="\n"),
            ("<tool_call>\\n", "<tool_call></tool_call>", "</tool_call>"),
            (Own("<tool_call>", closing="</tool_call>", goes_on=True),),
        ),
        Family(
            "mistral",
            MISTRAL,
            Held(MISTRAL, _MISTRAL, "[", closing="]"),
            (_MISTRAL,),
            (Own(_MISTRAL, "[", ", ", "]"), Own(_MISTRAL, between=_MISTRAL, named="[ARGS]")),
        ),
        Family(
            "granite",
            GRANITE,
            Held(GRANITE, opening="<|tool_call|>", closing="]"),
            ("<|tool_call|>",),
            (
                Own("<|tool_call|>", "[", ", ", "]"),
                Own("<tool_call>", "[", ", ", "]"),
                Own("<tool_call>", closing="</tool_call>", goes_on=True),
            ),
        ),
        Family(
            "phi4",
            PHI4,
            Held(PHI4, opening="functools[", closing="]"),
            ("<|tool|>", "functools["),
            (Own("functools[", "", ", ", "]"), Own("<|tool_call|>", "[", ", ", "]<|/tool_call|>")),
        ),
        Family("pythonic", PYTHONIC, BARE, ("<|python_start|>", "[func_name1(")),
        Family("llama", LLAMA, BARE, ("<|python_tag|>", '"parameters":', "<|start_header_id|>"), _LLAMA),
        Family("gemma", GEMMA, BARE, ("<start_of_turn>",)),
    )
}
