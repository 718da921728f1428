"""Renders a chat template for the API process, and nothing else: `python -m stoker.serve.request.template_child`.

Reads a line of JSON with the template, then one for each rendering; writes a line for each.
"""

from __future__ import annotations

import json
import resource
import sys

from stoker.serve.request.chat_template import ChatTemplate, TemplateRefusedError

MEMORY_BYTES = 1 << 30
TEXT_CHARACTERS = 64 << 20


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    template = ChatTemplate(*json.loads(sys.stdin.buffer.readline()))
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(json.dumps(_rendered(template, line)).encode() + b"\n")
        sys.stdout.buffer.flush()


def _rendered(template: ChatTemplate, line: bytes) -> dict[str, str]:
    try:
        text = template.render(*json.loads(line))
    except TemplateRefusedError as error:
        return {"refused": str(error)[:1000]}
    if len(text) > TEXT_CHARACTERS:
        return {"refused": f"it made a prompt of {len(text)} characters"}
    return {"text": text}


if __name__ == "__main__":
    main()
