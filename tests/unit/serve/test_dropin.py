"""What clients of vLLM, OpenAI and Anthropic send and ask for besides."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

import stoker.resolve
from stoker.launch.capabilities import Capabilities
from stoker.serve.http.keys import Keys
from stoker.serve.operate.frontend import Frontend, load_frontend
from stoker.serve.operate.service import Exposure, Service
from stoker.serve.request.chat_template import ChatTemplate
from stoker.store.engine import Engine

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask, PromptOf
    from tests.unit.serve.scripted import ScriptedEngine


DEMO = Path(stoker.resolve.__file__).parent / "demo"
USER = {"role": "user", "content": "Hello"}
CHAT: dict[str, Any] = {"model": "demo", "messages": [USER], "max_tokens": 2}
PLAIN: dict[str, Any] = {"model": "demo", "prompt": "Once upon a time", "max_tokens": 2}
TEXT = "The old man went down to the sea. He saw a boat there, and he was glad."
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": PLAIN,
    "/v1/responses": {"model": "demo", "input": "Hi", "max_output_tokens": 2},
    "/v1/messages": CHAT,
    "/tokenize": {"prompt": "a"},
}


@pytest.mark.parametrize("path", ["/health", "/ping"])
def test_vllms_health(ask: Ask, service: Service, path: str) -> None:
    service.exposure = Exposure(keys=Keys("secret"))
    assert (ask(path).status, ask(path).text) == (200, "")
    service.lifecycle.drain()
    assert ask(path).status == 503


def test_sagemakers_ping_and_vllms_load(ask: Ask, service: Service) -> None:
    assert ask("/ping", {}).status == 200
    assert ask("/load").json == {"server_load": 0}


@pytest.mark.parametrize("path", BODIES)
def test_what_nobody_knows_is_passed_over_with_a_warning_or_refused(ask: Ask, service: Service, path: str) -> None:
    body = {**BODIES[path], "num_ctx": 4096, "keep_alive": {"a": [1]}}
    answer = ask(path, body)
    assert answer.status == 200, answer.text
    assert answer.headers["warning"] == '299 stoker "ignored: num_ctx, keep_alive"'
    assert f'stoker_ignored_fields_total{{endpoint="{path}"}} 2.0' in ask("/metrics").text
    assert "warning" not in ask(path, BODIES[path]).headers
    service.reject_unknown = True
    refused = ask(path, body)
    assert refused.status == 400
    if path != "/v1/messages":
        assert (refused.error["code"], refused.error["param"]) == ("unknown_parameter", "num_ctx")


def test_the_warning_comes_with_streams_and_errors_and_names_places(ask: Ask) -> None:
    message = {**USER, "id": "m1", "content": [{"type": "text", "text": "a", "mood": 1}]}
    tool = {"type": "function", "function": {"name": "f", "x-order": 1}}
    body = {**CHAT, "messages": [message], "tools": [tool]}
    expected = '299 stoker "ignored: messages[0].content[0].mood, messages[0].id, tools[0].function.x-order"'
    assert ask("/v1/chat/completions", {**body, "stream": True}).headers["warning"] == expected
    answer = ask("/v1/chat/completions", {**body, "temperature": 9})
    assert answer.status == 400
    assert answer.headers["warning"] == expected


def test_the_header_is_plain_and_short(ask: Ask) -> None:
    body = {**CHAT, **{f'field\r\n"{number}é' + "x" * 300: 1 for number in range(20)}}
    header = ask("/v1/chat/completions", body).headers["warning"]
    assert header.isascii()
    assert "and 12 more" in header
    assert len(header) < 1200


def test_schemas_and_arguments_are_no_fields(ask: Ask) -> None:
    parameters = {"type": "object", "properties": {"whatever": {"x-y": None}}, "x-z": 1}
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    answer = ask("/v1/chat/completions", {**CHAT, "tools": tools, "chat_template_kwargs": {"anything": None}, "zz": 1})
    assert answer.headers["warning"] == '299 stoker "ignored: zz"'


def test_an_effort_that_the_template_does_not_know_is_advice(ask: Ask, service: Service) -> None:
    answer = ask("/v1/chat/completions", {**CHAT, "reasoning_effort": "low"})
    assert (answer.status, answer.headers["warning"]) == (200, '299 stoker "ignored: reasoning_effort"')
    codex = {"reasoning": {"effort": "medium", "summary": "auto"}, "text": {"verbosity": "low"}, "truncation": "auto"}
    extra = {"include": ["reasoning.encrypted_content"], "store": False, "prompt_cache_key": "k"}
    assert ask("/v1/responses", {**BODIES["/v1/responses"], **codex, **extra}).status == 200
    service.reject_unknown = True
    refused = ask("/v1/chat/completions", {**CHAT, "reasoning_effort": "low"})
    assert (refused.status, refused.error["param"]) == (400, "reasoning_effort")


@pytest.mark.parametrize(
    "extra",
    [
        {"store": True, "metadata": {"a": 1}} | {"metadata": {"a": "b"}},
        {"prediction": {"type": "content", "content": "x"}, "service_tier": "flex", "verbosity": "low", "user": "u"},
        {"priority": 5, "length_penalty": 1.0, "use_beam_search": False, "spaces_between_special_tokens": True},
        {"mm_processor_kwargs": {}, "include_reasoning": True, "echo": False, "bad_words": []},
        {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": True}},
    ],
)
def test_advice_is_taken_in_silence(ask: Ask, extra: dict[str, Any]) -> None:
    answer = ask("/v1/chat/completions", {**CHAT, **extra})
    assert answer.status == 200, answer.text
    assert "warning" not in answer.headers


def test_tokens_that_stop(ask: Ask, engine: ScriptedEngine, answer_ids: list[int]) -> None:
    body = ask("/v1/completions", {**PLAIN, "max_tokens": 50, "stop_token_ids": [answer_ids[3]]}).json
    assert body["choices"][0]["finish_reason"] == "stop"
    assert TEXT.startswith(body["choices"][0]["text"])
    assert len(body["choices"][0]["text"]) < len(TEXT)
    assert set(engine.asked[-1].end_ids) == {6, 2, answer_ids[3]}
    ask("/v1/completions", {**PLAIN, "ignore_eos": True, "stop_token_ids": [5, 5]})
    assert engine.asked[-1].end_ids == (5,)


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_may_be_part_of_the_text(ask: Ask, stream: bool) -> None:
    body = {**PLAIN, "max_tokens": 50, "stop": ["boat", "glad"], "include_stop_str_in_output": True, "stream": stream}
    answer = ask("/v1/completions", body)
    choices = [event["choices"][0] for event in answer.events] if stream else answer.json["choices"]
    assert "".join(choice["text"] for choice in choices) == "The old man went down to the sea. He saw a boat"
    assert choices[-1]["finish_reason"] == "stop"


def test_control_tokens_may_be_text(
    ask: Ask, engine: ScriptedEngine, frontend: Frontend, answer_ids: list[int], scripted: ModuleType
) -> None:
    special = min(frontend.tokenizer.special - set(frontend.context.end_ids))
    engine.script = lambda generation: scripted.one_by_one([answer_ids[0], special, *answer_ids[1:]])
    shown = frontend.tokenizer.decode_all([special])
    body = {**PLAIN, "max_tokens": 50}
    assert shown not in ask("/v1/completions", body).json["choices"][0]["text"]
    assert shown in ask("/v1/completions", {**body, "skip_special_tokens": False}).json["choices"][0]["text"]


def test_prompts_may_be_cut(ask: Ask, engine: ScriptedEngine) -> None:
    ids = list(range(10, 40))
    for extra, kept in (
        ({"truncate_prompt_tokens": 4}, ids[-4:]),
        ({"truncate_prompt_tokens": 4, "truncation_side": "right"}, ids[:4]),
        ({"truncate_prompt_tokens": 400}, ids),
        ({"truncate_prompt_tokens": -1}, ids),
    ):
        assert ask("/v1/completions", {**PLAIN, "prompt": ids, **extra}).status == 200
        assert list(engine.asked[-1].input_ids) == kept
    long = {**PLAIN, "prompt": ids * 100, "truncate_prompt_tokens": -1}
    assert ask("/v1/completions", long).status == 200
    assert len(engine.asked[-1].input_ids) == 510
    assert ask("/v1/chat/completions", {**CHAT, "truncate_prompt_tokens": 3}).status == 200
    assert len(engine.asked[-1].input_ids) == 3


def test_the_tokenizers_first_token_is_a_matter_of_asking(ask: Ask, engine: ScriptedEngine) -> None:
    ask("/v1/completions", PLAIN)
    with_first = list(engine.asked[-1].input_ids)
    ask("/v1/completions", {**PLAIN, "add_special_tokens": False})
    assert list(engine.asked[-1].input_ids) == with_first[1:]


def test_a_message_is_gone_on_with(
    ask: Ask, service: Service, frontend: Frontend, engine: ScriptedEngine, prompt_of: PromptOf
) -> None:
    history = [USER, {"role": "assistant", "content": "It was a dark"}]
    body = {**CHAT, "messages": history}
    ask("/v1/chat/completions", body)
    assert not frontend.tokenizer.decode_all(engine.asked[-1].input_ids).endswith("dark")
    for extra in ({"continue_final_message": True}, {"continue_final_message": True, "add_generation_prompt": False}):
        assert ask("/v1/chat/completions", {**body, **extra}).status == 200
        assert frontend.tokenizer.decode_all(engine.asked[-1].input_ids).endswith("It was a dark")
    trimming = ChatTemplate("{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</s>{% endfor %}", {})
    service.attach(engine, dataclasses.replace(frontend, chat_template=trimming))
    for content in ("It was a dark ", " It was a dark"):
        messages = [USER, {"role": "assistant", "content": content}]
        assert ask("/v1/chat/completions", {**CHAT, "messages": messages, "continue_final_message": True}).status == 200
        assert prompt_of(engine).endswith("It was a dark")


def test_anthropics_last_message_of_the_assistant_is_gone_on_with(
    ask: Ask, engine: ScriptedEngine, prompt_of: PromptOf
) -> None:
    history = [USER, {"role": "assistant", "content": [{"type": "text", "text": "It was a dark"}]}]
    assert ask("/v1/messages", {**CHAT, "messages": history}).status == 200
    assert prompt_of(engine).endswith("It was a dark")


def test_a_prompt_without_the_opening_of_the_answer(
    ask: Ask, engine: ScriptedEngine, prompt_of: PromptOf, frontend: Frontend
) -> None:
    ask("/v1/chat/completions", CHAT)
    whole = list(engine.asked[-1].input_ids)
    ask("/v1/chat/completions", {**CHAT, "add_generation_prompt": False})
    assert list(engine.asked[-1].input_ids) == whole[: len(engine.asked[-1].input_ids)]
    assert len(engine.asked[-1].input_ids) < len(whole)
    counted = ask("/tokenize", {"messages": [USER], "add_generation_prompt": False}).json["count"]
    assert counted == len(engine.asked[-1].input_ids)


def test_documents_reach_the_template(
    ask: Ask, service: Service, frontend: Frontend, engine: ScriptedEngine, prompt_of: PromptOf
) -> None:
    template = ChatTemplate("{% for d in documents or [] %}{{ d.title }}:{{ d.text }};{% endfor %}end", {})
    service.attach(engine, dataclasses.replace(frontend, chat_template=template))
    documents = [{"title": "Sea", "text": "It is deep."}]
    assert ask("/v1/chat/completions", {**CHAT, "documents": documents}).status == 200
    assert "Sea:It is deep.;end" in prompt_of(engine)


def test_claude_codes_fields(ask: Ask, engine: ScriptedEngine) -> None:
    cached = {"cache_control": {"type": "ephemeral"}}
    body = {
        "model": "demo",
        "max_tokens": 2,
        "system": [{"type": "text", "text": "Be kind.", **cached}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", **cached}]}],
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
        "metadata": {"user_id": "u", "device": 5},
        "output_config": {"effort": "high"},
        "service_tier": "auto",
        "betas": ["x"],
    }
    answer = ask("/v1/messages", body)
    assert answer.status == 200, answer.text
    assert answer.headers["warning"] == '299 stoker "ignored: betas, reasoning_effort"'
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    form = {"format": {"type": "json_schema", "schema": schema}}
    assert ask("/v1/messages", {**body, "output_config": form}).status == 200
    assert engine.asked[-1].guide is not None


@pytest.mark.parametrize("kind", ["web_search", "mcp", "local_shell"])
def test_tools_that_nothing_here_runs_are_told_plainly(ask: Ask, kind: str) -> None:
    tools = [{"type": kind, "name": "x", "search_context_size": "low"}]
    refused = ask("/v1/responses", {**BODIES["/v1/responses"], "tools": tools})
    assert (refused.status, refused.error["param"]) == (400, "tools[0].type")
    assert kind in refused.error["message"]
    refused = ask("/v1/chat/completions", {**CHAT, "tools": [{"type": kind, kind: {"name": "x"}}]})
    assert (refused.status, refused.error["param"]) == (400, "tools[0].type")


@pytest.mark.parametrize("kind", ["web_search_20250305", "bash_20250124", "computer_20250124"])
def test_anthropics_own_tools_are_told_plainly(ask: Ask, kind: str) -> None:
    refused = ask("/v1/messages", {**CHAT, "tools": [{"type": kind, "name": "x", "max_uses": 5}]})
    assert refused.status == 400
    assert kind in refused.json["error"]["message"]
    assert "Nothing here runs" in refused.json["error"]["message"]
    refused = ask("/v1/messages", {**CHAT, "tools": [{"name": "x"}]})
    assert "tools[0].input_schema" in refused.json["error"]["message"]


@pytest.mark.parametrize("n", [1, 2])
def test_usage_in_every_event(ask: Ask, n: int) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    events = ask(
        "/v1/chat/completions", {**CHAT, "stream": True, "stream_options": options, "max_tokens": 5, "n": n}
    ).events
    *chunks, last = events
    assert last["usage"]["completion_tokens"] == 5 * n
    for index in range(n):
        told = [chunk["usage"] for chunk in chunks if chunk["choices"][0]["index"] == index]
        counts = [usage["completion_tokens"] for usage in told]
        assert counts == sorted(counts)
        assert counts[-1] == 5
        assert all(usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] for usage in told)


def _with_config(demo_engine: Engine, tmp_path: Path, config: Any, **options: Any) -> Any:
    for path in DEMO.iterdir():
        if path.suffix in (".json", ".jinja"):
            shutil.copy(path, tmp_path / path.name)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [6, 2], **config}))
    return load_frontend(
        dataclasses.replace(demo_engine, directory=tmp_path), Capabilities(frozenset(), False), **options
    )


def test_the_models_own_way_of_sampling_is_the_default(
    ask: Ask, service: Service, engine: ScriptedEngine, demo_engine: Engine, tmp_path: Path
) -> None:
    config = {"temperature": 0.6, "top_p": 0.9, "top_k": 20, "min_p": 0.05, "repetition_penalty": 1.1}
    made = _with_config(demo_engine, tmp_path, {**config, "max_new_tokens": 7, "do_sample": True})
    service.attach(engine, made)
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"):
        body = {name: value for name, value in BODIES[path].items() if path == "/v1/messages" or name != "max_tokens"}
        body.pop("max_output_tokens", None)
        assert ask(path, body).status == 200
        assert {name: getattr(engine.asked[-1], name) for name in config} == config
        assert engine.asked[-1].max_tokens == (2 if path == "/v1/messages" else 7)
    said = {"temperature": 1, "top_p": 1, "top_k": -1, "min_p": 0, "repetition_penalty": 1, "max_tokens": 30}
    ask("/v1/completions", {**PLAIN, **said})
    asked = engine.asked[-1]
    assert (asked.temperature, asked.top_p, asked.top_k, asked.min_p, asked.repetition_penalty) == (1, *[None] * 4)
    assert asked.max_tokens == 30
    (card,) = ask("/v1/models").json["data"]
    assert card["default_sampling_params"] == {**config, "max_new_tokens": 7}
    assert card["root"] == card["id"]
    made.tokenizer.close()


def test_openais_defaults_are_to_be_had(
    ask: Ask, service: Service, engine: ScriptedEngine, demo_engine: Engine, tmp_path: Path
) -> None:
    made = _with_config(demo_engine, tmp_path, {"temperature": 0.6}, model_defaults=False)
    service.attach(engine, made)
    ask("/v1/completions", PLAIN)
    assert engine.asked[-1].temperature == 1.0
    assert ask("/v1/models").json["data"][0]["default_sampling_params"] == {}
    made.tokenizer.close()


@pytest.mark.parametrize(
    "config", [{"temperature": "hot"}, {"top_p": 7}, {"top_k": 1.5}, {"repetition_penalty": 0}, {"max_new_tokens": []}]
)
def test_a_default_that_cannot_be_is_passed_over(
    ask: Ask, service: Service, engine: ScriptedEngine, demo_engine: Engine, tmp_path: Path, config: Any
) -> None:
    made = _with_config(demo_engine, tmp_path, config)
    service.attach(engine, made)
    assert ask("/v1/completions", {**PLAIN, "max_tokens": None}).status == 200
    assert (engine.asked[-1].temperature, engine.asked[-1].top_p, engine.asked[-1].top_k) == (1.0, None, None)
    made.tokenizer.close()


@pytest.mark.parametrize(
    "body",
    [
        {**CHAT, **{f"k{number}": 1 for number in range(200_000)}},
        {**CHAT, "messages": [{**USER, "x": None} for _ in range(60_000)]},
        {**CHAT, "messages": [{"role": "user", "content": [{"type": "text", "text": "a", "x": None}] * 60_000}]},
        {**CHAT, "tools": [{"type": "function", "function": {"name": "f", "x": None}}] * 60_000},
    ],
)
def test_bodies_that_are_nothing_but_fields_to_look_at_are_refused(ask: Ask, body: dict[str, Any]) -> None:
    answer = ask("/v1/chat/completions", body)
    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    assert len(answer.text) < 1000


def test_nim_tells_of_itself(ask: Ask, service: Service) -> None:
    assert ask("/v1/health/ready").json["message"] == "Service is ready."
    assert ask("/v1/version").json.keys() == {"release", "api"}
    assert ask("/v1/license").json["name"] == "Apache-2.0"
    assert ask("/v1/metrics").text.startswith("# HELP")
    assert ask("/v1/manifest").status == 404
    assert ask("/v1/metadata").json["modelInfo"] == []
    service.plan = {
        "model": {"served_name": "demo", "reference": "hf://a/b", "revision": "5" * 40},
        "chosen": {"profile": "openvino-int8-throughput"},
        "rejected": [{"profile": "x", "why": "y"}],
    }
    metadata = ask("/v1/metadata").json
    assert metadata["assetInfo"] == [f"hf://a/b@{'5' * 40}"]
    assert metadata["modelInfo"] == [{"modelUrl": "hf://a/b", "shortName": "demo"}]
    assert metadata["selectedModelProfileId"] == "openvino-int8-throughput"
    assert [each["profile"] for each in ask("/v1/manifest").json["profiles"]] == ["openvino-int8-throughput", "x"]
