"""How a chat template reads an assistant's tool calls: it is asked to write one in each form, and shows which it takes.

transformers gives templates what the client sent; templates were written against that, and differ. Some join the
arguments to a text as a string, others go through an object; some leave calls out of messages that have a content,
however empty, others cannot take a content that is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stoker.serve.request.chat_template import ChatTemplate, TemplateRefusedError
from stoker.serve.request.messages import CallForm
from stoker.serve.request.template_process import TemplateUnavailableError

PROBE = "stoker_probe"
ARGUMENTS = {"city": "Bonn", "days": 3}
USER = {"role": "user", "content": "probe the probe"}
_WRITTEN = '{"city": "Bonn", "days": 3}'
_VALUE, _AS_PYTHON, _ESCAPED = "Bonn", "'city'", '\\"city\\"'
_PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
_TOOL = {"type": "function", "function": {"name": PROBE, "description": "probe", "parameters": _PARAMETERS}}
# As transformers has it, first: an object, and no content.
_FORMS = tuple(CallForm(text, content) for text in (False, True) for content in (None, ""))


def call_form(template: ChatTemplate) -> CallForm:
    """Blocks until the template has been asked, which it is once. The usual form where it writes no calls."""
    if template.call_form is None:
        template.call_form = next((form for form in _FORMS if _takes(template, form)), CallForm())
    return template.call_form


def written_call(template: ChatTemplate, form: CallForm | None = None) -> str:
    """What the template writes for an assistant's call; empty where it writes none."""
    before = rendered(template, [USER])
    whole = rendered(template, [USER, _calling(form or call_form(template))])
    said = USER["content"]
    start = len(before) if before and whole.startswith(before) else whole.rfind(said) + len(said)
    written = whole[start:]
    return written if PROBE in written else ""


def rendered(template: ChatTemplate, messages: Sequence[dict[str, Any]]) -> str:
    """With a tool. Empty where the template does not take them."""
    try:
        return template.render(messages, tools=[_TOOL])
    except (TemplateRefusedError, TemplateUnavailableError):
        return ""


def _calling(form: CallForm) -> dict[str, Any]:
    function = {"name": PROBE, "arguments": _WRITTEN if form.text else ARGUMENTS}
    call = {"id": "abcdefghi", "type": "function", "function": function}
    return {"role": "assistant", "content": form.no_content, "tool_calls": [call]}


def _takes(template: ChatTemplate, form: CallForm) -> bool:
    """Whether it writes the call, the arguments neither as Python shows an object nor as a string within a string, and
    does not write that there is no content."""
    written = written_call(template, form)
    if _VALUE not in written or _AS_PYTHON in written or _ESCAPED in written:
        return False
    return form.no_content is not None or "None" not in written
