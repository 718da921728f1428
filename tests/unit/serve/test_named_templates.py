"""Templates by name, and what each takes of an assistant's calls, as transformers has them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import stoker.resolve
from stoker.build.companions import copy_companions
from stoker.kinds.openvino import TENSORS
from stoker.resolve.checkpoint import file_names, has_chat_template, small_files
from stoker.serve.operate.frontend import Frontend, load_frontend
from stoker.serve.operate.service import Service
from stoker.serve.request.call_form import call_form
from stoker.serve.request.chat_template import ChatTemplate, TemplateMissingError, load_chat_template, template_sources
from stoker.serve.request.messages import CallForm
from stoker.store.engine import Engine, Manifest

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask
    from tests.unit.serve.scripted import ScriptedEngine


DEMO = Path(stoker.resolve.__file__).parent / "demo"
USER = {"role": "user", "content": "Weather?"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bonn"}'}}
CALLING: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "abcdefghi", "content": "sunny"}
FOLDER = "additional_chat_templates"
NAMED = [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}]
LOOP = "{% for m in messages %}BODY{% endfor %}"

# As DeepSeek-V3 has it, shortened: arguments joined as a string, calls only where the content is none.
DEEPSEEK = """{%- for message in messages %}
{%- if message['role'] == 'user' %}{{ '<U>' + message['content'] }}{%- endif %}
{%- if message['role'] == 'assistant' and message['content'] is none %}
{%- for tool in message['tool_calls'] %}{{ '<C>' + tool['type'] + '<S>' + tool['function']['name'] + '\\n```json\\n' +
 tool['function']['arguments'] + '\\n```' }}{%- endfor %}
{%- endif %}
{%- if message['role'] == 'assistant' and message['content'] is not none %}{{ '<A>' + message['content'] }}{%- endif %}
{%- if message['role'] == 'tool' %}{{ '<T>' + message['content'] }}{%- endif %}
{%- endfor %}"""
QWEN = """{%- if tools %}{{ tools | tojson }}{% endif %}{%- for m in messages %}<{{ m.role }}>
{%- if m.content %}{{ m.content }}{% endif %}{%- for c in m.tool_calls or [] %}<tool_call>
{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}
</tool_call>{% endfor %}{%- endfor %}"""
ITEMS = LOOP.replace(
    "BODY",
    "{{ m.content }}{% for c in m.tool_calls or [] %}<{{ c.function.name }}>"
    "{% for k, v in c.function.arguments.items() %}<{{ k }}={{ v }}>{% endfor %}{% endfor %}",
)
ADDED = LOOP.replace("BODY", "{{ m['content'] + '|' }}{% for c in m.tool_calls or [] %}{{ c | tojson }}{% endfor %}")
EITHER = LOOP.replace(
    "BODY",
    "{{ m.content or '' }}{% for c in m.tool_calls or [] %}{{ c.function.name }}"
    "{% if c.function.arguments is string %}{{ c.function.arguments }}{% else %}{{ c.function.arguments | tojson }}"
    "{% endif %}{% endfor %}",
)
PLAIN = LOOP.replace(
    "BODY",
    "{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.name }}{{ c.function.arguments }}{% endfor %}",
)


@pytest.mark.parametrize(
    ("source", "form"),
    [
        (DEEPSEEK, CallForm(text=True, no_content=None)),
        (QWEN, CallForm(text=False, no_content=None)),
        (ITEMS, CallForm(text=False, no_content="")),
        (ADDED, CallForm(text=False, no_content="")),
        (EITHER, CallForm(text=False, no_content=None)),
        (PLAIN, CallForm(text=True, no_content="")),
        ("{{ messages | length }}", CallForm()),
        ("{{ raise_exception('no') }}", CallForm()),
    ],
)
def test_a_template_shows_the_form_that_it_takes(source: str, form: CallForm) -> None:
    template = ChatTemplate(source, {})
    assert call_form(template) == form
    assert call_form(template) is template.call_form


def _prompt(
    ask: Ask, service: Service, frontend: Frontend, engine: ScriptedEngine, source: str, *messages: dict[str, Any]
) -> str:
    template = ChatTemplate(source, {})
    service.attach(engine, replace(frontend, chat_template=template))
    answer = ask("/v1/chat/completions", {"model": "demo", "messages": [USER, *messages], "max_tokens": 2})
    assert answer.status == 200, answer.text
    return str(frontend.tokenizer.decode(engine.asked[-1].input_ids))


@pytest.mark.parametrize("content", [{"content": None}, {}, {"content": ""}, {"content": []}])
@pytest.mark.parametrize(
    ("source", "written"),
    [
        (DEEPSEEK, '<C>function<S>weather\n```json\n{"city": "Bonn"}\n```'),
        (QWEN, '{"name": "weather", "arguments": {"city": "Bonn"}}'),
        (ITEMS, "<weather><city=Bonn>"),
        (PLAIN, 'weather{"city": "Bonn"}'),
    ],
)
def test_calls_of_the_history_are_in_the_prompt(
    ask: Ask, service: Service, frontend: Frontend, engine: ScriptedEngine, source: str, written: str, content: Any
) -> None:
    calling = {name: value for name, value in {**CALLING, **content}.items() if name != "content" or content}
    prompt = _prompt(ask, service, frontend, engine, source, calling, RESULT)
    assert written in prompt
    assert "None" not in prompt


@pytest.mark.parametrize("source", [DEEPSEEK, QWEN, ITEMS, ADDED, EITHER, PLAIN])
@pytest.mark.parametrize("arguments", ['{"city": "Bo', "nonsense", "[1]"])
def test_arguments_that_were_cut_off_are_in_the_prompt(
    ask: Ask, service: Service, frontend: Frontend, engine: ScriptedEngine, source: str, arguments: str
) -> None:
    call = {**CALL, "function": {"name": "weather", "arguments": arguments}}
    prompt = _prompt(ask, service, frontend, engine, source, {**CALLING, "tool_calls": [call]}, RESULT)
    assert arguments in prompt or json.dumps(arguments)[1:-1] in prompt


def test_a_text_beside_calls_is_the_templates_own_affair(
    ask: Ask, service: Service, frontend: Frontend, engine: ScriptedEngine
) -> None:
    assert "<A>On it." in _prompt(ask, service, frontend, engine, DEEPSEEK, {**CALLING, "content": "On it."}, RESULT)


@pytest.mark.parametrize(
    ("files", "sources"),
    [
        ({"tokenizer_config.json": {"chat_template": "one"}}, {"default": "one"}),
        ({"tokenizer_config.json": {"chat_template": NAMED}}, {"default": "d", "tool_use": "t"}),
        ({"tokenizer_config.json": {"chat_template": {"default": "d", "rag": "r"}}}, {"default": "d", "rag": "r"}),
        ({"chat_template.jinja": "f", f"{FOLDER}/tool_use.jinja": "t"}, {"default": "f", "tool_use": "t"}),
        ({f"{FOLDER}/rag.jinja": "r", "tokenizer_config.json": {"chat_template": "passed over"}}, {"rag": "r"}),
        ({"tokenizer_config.json": {"chat_template": [{"name": 5, "template": "d"}, "x", {"name": "default"}]}}, {}),
        ({}, {}),
    ],
)
def test_templates_are_found_as_transformers_finds_them(tmp_path: Path, files: dict[str, Any], sources: Any) -> None:
    _write(tmp_path, files)
    assert template_sources(tmp_path) == sources
    if "default" not in sources:
        with pytest.raises(TemplateMissingError, match="rag" if sources else "no chat template"):
            load_chat_template(tmp_path)


def _write(directory: Path, files: dict[str, Any]) -> None:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(content if isinstance(content, str) else json.dumps(content))


def _engine(tmp_path: Path, files: dict[str, Any]) -> Engine:
    for path in DEMO.iterdir():
        if path.suffix == ".json":
            shutil.copy(path, tmp_path / path.name)
    _write(tmp_path, files)
    manifest = Manifest(
        schema=1,
        key="demo-openvino-int8-0123",
        kind="openvino",
        served_name="demo",
        revision="",
        chosen={"max_seq_len": 512, "max_batch_size": 8},
        inputs={},
        versions={},
        build={"seconds": 1.5},
    )
    return Engine(tmp_path, manifest)


HERMES_TOOLS = "TOOLS {{ tools | tojson }}" + QWEN


@pytest.mark.parametrize("in_files", [True, False])
def test_tools_have_a_template_of_their_own(
    ask: Ask, service: Service, engine: ScriptedEngine, tmp_path: Path, in_files: bool
) -> None:
    plain = "PLAIN " + LOOP.replace("BODY", "{{ m.content }}")
    files: dict[str, Any] = {"chat_template.jinja": plain, "additional_chat_templates/tool_use.jinja": HERMES_TOOLS}
    if not in_files:
        settings = json.loads((DEMO / "tokenizer_config.json").read_text())
        named = [{"name": "default", "template": plain}, {"name": "tool_use", "template": HERMES_TOOLS}]
        files = {"tokenizer_config.json": {**settings, "chat_template": named}}
    loaded = load_frontend(_engine(tmp_path, files), TENSORS["text"].capabilities)
    assert loaded.tool_family is not None
    assert loaded.tool_family.name == "hermes"
    service.attach(engine, loaded)

    def prompt(**extra: Any) -> str:
        answer = ask("/v1/chat/completions", {"model": "demo", "messages": [USER], "max_tokens": 2, **extra})
        assert answer.status == 200, answer.text
        return str(loaded.tokenizer.decode(engine.asked[-1].input_ids))

    assert prompt().startswith("PLAIN")
    assert prompt(tools=[TOOL], tool_choice="none").startswith("PLAIN")
    assert prompt(tools=[TOOL]).startswith("TOOLS")
    assert '"weather"' in prompt(tools=[TOOL])
    tools = [{"name": "weather", "input_schema": {"type": "object"}}]
    messages = {"model": "demo", "messages": [USER], "max_tokens": 2}
    assert ask("/v1/messages", {**messages, "tools": tools}).status == 200
    assert str(loaded.tokenizer.decode(engine.asked[-1].input_ids)).startswith("TOOLS")
    loaded.tokenizer.close()


def test_a_request_may_name_a_template(ask: Ask, service: Service, engine: ScriptedEngine, tmp_path: Path) -> None:
    files = {"chat_template.jinja": HERMES_TOOLS, f"{FOLDER}/rag.jinja": "RAG {{ documents[0].text }}"}
    loaded = load_frontend(
        _engine(tmp_path, {**files, f"{FOLDER}/bad.jinja": "{% if %}"}), TENSORS["text"].capabilities
    )
    service.attach(engine, loaded)
    body = {"model": "demo", "messages": [USER], "max_tokens": 2, "documents": [{"text": "sea"}]}
    assert ask("/v1/chat/completions", {**body, "chat_template": "rag"}).status == 200
    assert str(loaded.tokenizer.decode(engine.asked[-1].input_ids)).startswith("RAG sea")
    for name in ("bad", "tool_use", "{{ 1 }}", ""):
        answer = ask("/v1/chat/completions", {**body, "chat_template": name})
        assert answer.status == 400, name
    loaded.tokenizer.close()


def test_a_model_may_have_a_template_for_tools_alone(
    ask: Ask, service: Service, engine: ScriptedEngine, tmp_path: Path
) -> None:
    loaded = load_frontend(
        _engine(tmp_path, {"additional_chat_templates/tool_use.jinja": HERMES_TOOLS}), TENSORS["text"].capabilities
    )
    service.attach(engine, loaded)
    body = {"model": "demo", "messages": [USER], "max_tokens": 2}
    assert ask("/v1/chat/completions", {**body, "tools": [TOOL]}).status == 200
    assert ask("/v1/chat/completions", body).error["code"] == "chat_template_missing"
    loaded.tokenizer.close()


def test_a_template_for_tools_that_is_broken_leaves_the_other(
    ask: Ask, service: Service, engine: ScriptedEngine, tmp_path: Path
) -> None:
    files = {"chat_template.jinja": HERMES_TOOLS, "additional_chat_templates/tool_use.jinja": "{% if %}"}
    loaded = load_frontend(_engine(tmp_path, files), TENSORS["text"].capabilities)
    service.attach(engine, loaded)
    body = {"model": "demo", "messages": [USER], "max_tokens": 2, "tools": [TOOL]}
    assert ask("/v1/chat/completions", body).status == 200
    loaded.tokenizer.close()


def test_named_templates_belong_to_the_model_and_to_its_engine(tmp_path: Path) -> None:
    model, engine = tmp_path / "model", tmp_path / "engine"
    engine.mkdir()
    names = ["additional_chat_templates/rag.jinja", "additional_chat_templates/tool_use.jinja", "chat_template.jinja"]
    _write(model, dict.fromkeys(names, "x") | {"additional_chat_templates/notes.txt": "x", "other/tool_use.jinja": "x"})
    assert small_files(file_names(model)) == names
    assert sorted(copy_companions(model, engine)) == names
    assert all((engine / name).read_text() == "x" for name in names)
    (model / "chat_template.jinja").unlink()
    assert has_chat_template(model)
