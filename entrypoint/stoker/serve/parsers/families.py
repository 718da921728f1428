"""The families of models that call tools: how each is recognised, read, and held to its own form when it must call."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.serve.parsers.json_forms import GRANITE, HERMES, LLAMA, PHI4
from stoker.serve.parsers.mistral import MISTRAL
from stoker.serve.parsers.pythonic import GEMMA, PYTHONIC
from stoker.serve.parsers.tools import Form


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
class Family:
    """`signs`: any of them in a chat template speaks for this family."""

    name: str
    form: Form
    held: Held
    signs: tuple[str, ...]


FAMILIES = {  # settings.spec lists them too
    family.name: family
    for family in (
        Family(
            "hermes",
            HERMES,
            Held(HERMES, before="<tool_call>\n", after="\n</tool_call>", between="\n"),
            ("<tool_call>\\n", "<tool_call></tool_call>", "</tool_call>"),
        ),
        Family("mistral", MISTRAL, Held(MISTRAL, "[TOOL_CALLS]", "[", closing="]"), ("[TOOL_CALLS]",)),
        Family("granite", GRANITE, Held(GRANITE, opening="<|tool_call|>", closing="]"), ("<|tool_call|>",)),
        Family("phi4", PHI4, Held(PHI4, opening="functools[", closing="]"), ("<|tool|>", "functools[")),
        Family("pythonic", PYTHONIC, BARE, ("<|python_start|>", "[func_name1(")),
        Family("llama", LLAMA, BARE, ("<|python_tag|>", '"parameters":', "<|start_header_id|>")),
        Family("gemma", GEMMA, BARE, ("<start_of_turn>",)),
    )
}
