"""Which family a model belongs to: by its chat template, which is asked for a conversation with a call in it.

What the template writes for the call must come back from the family's parser as the same call; a family that is named
in the settings must pass that test too, where the template writes calls at all.
"""

from __future__ import annotations

from stoker.errors import UsageError
from stoker.json_text import parse_json
from stoker.serve.answer.events import CallArguments, CallStart, joined
from stoker.serve.answer.parsers.families import FAMILIES, Family
from stoker.serve.answer.parsers.reasoning import FAMILIES as THINKING
from stoker.serve.answer.parsers.reasoning import Thinking, thinking_of
from stoker.serve.answer.parsers.tools import ToolParser
from stoker.serve.request.call_form import ARGUMENTS, PROBE, USER, rendered, written_call
from stoker.serve.request.chat_template import ChatTemplate

AUTO, NONE = "auto", "none"


def choose_family(template: ChatTemplate, wanted: str = AUTO) -> Family | None:
    """None for a template that shows the model no tools. UsageError for a wanted family that does not fit."""
    if wanted == NONE or not shows_tools(template):
        return None
    written = written_call(template)
    if wanted != AUTO:
        if written and not _reads(FAMILIES[wanted], written):
            raise UsageError(
                f"--tool-parser {wanted} does not fit the model",
                why=f"its chat template writes a call as {written[:200]!r}, which this parser does not read",
                remedy="leave the setting out",
            )
        return FAMILIES[wanted]
    fitting = [family for family in FAMILIES.values() if written and _reads(family, written)]
    return next(iter([*fitting, *_by_signs(template.source)]), None)


def choose_thinking(template: ChatTemplate, wanted: str = AUTO) -> Thinking | None:
    name = thinking_of(template.source) if wanted == AUTO else wanted
    return THINKING.get(name or NONE)


def shows_tools(template: ChatTemplate) -> bool:
    """Whether what the model reads names the tools."""
    return PROBE in rendered(template, [USER])


def _by_signs(source: str) -> list[Family]:
    return [family for family in FAMILIES.values() if any(sign in source for sign in family.signs)]


def _reads(family: Family, written: str) -> bool:
    parser = ToolParser(family.form, (PROBE,))
    events = joined([*parser.feed(written), *parser.end()])
    starts = [event for event in events if isinstance(event, CallStart)]
    if [start.name for start in starts] != [PROBE]:
        return False
    arguments = "".join(event.text for event in events if isinstance(event, CallArguments))
    try:
        return bool(parse_json(arguments) == ARGUMENTS)
    except ValueError:
        return False
