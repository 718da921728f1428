"""Ollama's API, over a scripted engine."""

from __future__ import annotations

import dataclasses
import json
from array import array
from collections.abc import AsyncGenerator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from stoker.launch.generation import Delta, EngineState, Generation
from stoker.resolve.model import Pooling
from stoker.serve.answer.parsers.reasoning import THINK
from stoker.serve.apis.ollama.translation import OpenCalls
from stoker.serve.http.keys import Keys
from stoker.serve.operate.frontend import Frontend
from stoker.serve.operate.service import Exposure, Service
from stoker.serve.request.chat_template import ChatTemplate

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask, PromptOf, Reply, Says
    from tests.unit.serve.scripted import ScriptedEngine


TEXT = "The old man went down to the sea. He saw a boat there, and he was glad."
USER = {"role": "user", "content": "Hello"}
CHAT: dict[str, Any] = {"model": "demo", "messages": [USER], "options": {"num_predict": 50}}
GENERATE: dict[str, Any] = {"model": "demo", "prompt": "Hello", "options": {"num_predict": 50}}
TIMES = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def lines(answer: Reply) -> list[Any]:
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text.endswith("\n")
    return [json.loads(line) for line in answer.text.splitlines()]


def options(ask: Ask, engine: ScriptedEngine, **given: object) -> Generation:
    """What the engine was asked for."""
    answer = ask("/api/chat", {**CHAT, "options": {"num_predict": 5, **given}, "stream": False})
    assert answer.status == 200, answer.text
    return engine.asked[-1]


def test_chat_is_streamed_in_lines_unless_told_otherwise(ask: Ask) -> None:
    *parts, last = lines(ask("/api/chat", CHAT))
    assert "".join(part["message"]["content"] for part in parts) == TEXT
    assert {part["message"]["role"] for part in [*parts, last]} == {"assistant"}
    assert all(part["done"] is False and part["model"] == "demo" and part["created_at"] for part in parts)
    assert (last["done"], last["done_reason"], last["message"]["content"]) == (True, "stop", "")
    assert last["eval_count"] == ask("/api/chat", {**CHAT, "stream": False}).json["eval_count"]
    assert last["prompt_eval_count"] > 0
    assert all(type(last[name]) is int and last[name] > 0 for name in TIMES)
    assert last["total_duration"] >= last["load_duration"] + last["prompt_eval_duration"]


def test_whole_answers(ask: Ask) -> None:
    chat = ask("/api/chat", {**CHAT, "stream": False})
    assert chat.headers["content-type"].startswith("application/json")
    assert chat.json["message"] == {"role": "assistant", "content": TEXT}
    assert chat.json["done"] is True
    generated = ask("/api/generate", {**GENERATE, "stream": False}).json
    assert (generated["response"], generated["done_reason"]) == (TEXT, "stop")
    *parts, last = lines(ask("/api/generate", GENERATE))
    assert "".join(part["response"] for part in parts) == TEXT
    assert last["eval_count"] == generated["eval_count"]


def test_a_limit_ends_an_answer_and_may_be_beyond_the_context(ask: Ask, engine: ScriptedEngine) -> None:
    short = ask("/api/chat", {**CHAT, "options": {"num_predict": 3}, "stream": False}).json
    assert (short["done_reason"], short["eval_count"]) == ("length", 3)
    for limit in (100_000, -1, 0, -2):
        assert options(ask, engine, num_predict=limit).max_tokens > 100
    long = {"role": "user", "content": "word " * 2000}
    assert ask("/api/chat", {**CHAT, "messages": [long]}).status == 400


def test_options_are_mapped(ask: Ask, engine: ScriptedEngine) -> None:
    asked = options(ask, engine, temperature=0.5, top_k=7, top_p=0.8, min_p=0.1, seed=3, repeat_penalty=1.2)
    told = (asked.temperature, asked.top_k, asked.top_p, asked.min_p, asked.seed, asked.repetition_penalty)
    assert told == (0.5, 7, 0.8, 0.1, 3, 1.2)
    asked = options(
        ask, engine, presence_penalty=0.5, frequency_penalty=0.25, seed=-1, repeat_penalty=1.2, repeat_last_n=0
    )
    assert (asked.presence_penalty, asked.frequency_penalty, asked.repetition_penalty) == (0.5, 0.25, None)
    body = {**CHAT, "options": {"stop": ["boat"]}, "stream": False}
    assert ask("/api/chat", body).json["message"]["content"] == TEXT[: TEXT.index("boat")]


def test_what_the_server_settled_is_advice(ask: Ask) -> None:
    settled = {"num_ctx": 8192, "num_gpu": 99, "num_thread": 8, "use_mmap": True, "mirostat": 0, "typical_p": 1.0}
    answer = ask("/api/chat", {**CHAT, "options": {**settled, "stop": []}, "keep_alive": "10m", "stream": False})
    assert answer.status == 200
    assert "warning" not in answer.headers
    answer = ask("/api/chat", {**CHAT, "options": {"repeat_last_n": 64, "repeat_penalty": 1.1, "zz": 1}, "yy": 1})
    assert answer.headers["warning"] == '299 stoker "ignored: options.zz, yy, options.repeat_last_n"'


@pytest.mark.parametrize(
    ("path", "extra", "said"),
    [
        ("/api/chat", {"options": {"mirostat": 2}}, "options.mirostat"),
        ("/api/chat", {"options": {"temperature": 9}}, "options.temperature"),
        ("/api/chat", {"messages": [{**USER, "images": ["aGk="]}]}, "Images are not supported"),
        ("/api/chat", {"messages": [{"role": "tool", "content": "x"}]}, "follows the call"),
        ("/api/chat", {"think": True}, "does not support thinking"),
        ("/api/chat", {"format": "xml"}, "format"),
        ("/api/generate", {"images": ["aGk="]}, "Images are not supported"),
        ("/api/generate", {"template": "{{ .Prompt }}"}, "chat template"),
        ("/api/generate", {"context": [1, 2]}, "/api/chat"),
        ("/api/generate", {"raw": True, "system": "Be kind."}, "belongs to a chat template"),
        ("/api/generate", {"model": None}, "model"),
    ],
)
def test_what_cannot_be_done_is_told_in_ollamas_form(ask: Ask, path: str, extra: Any, said: str) -> None:
    body = {**(CHAT if path == "/api/chat" else GENERATE), **extra}
    answer = ask(path, body)
    assert answer.status == 400
    assert set(answer.json) == {"error"}
    assert said in answer.json["error"]


def test_names_have_tags(ask: Ask, service: Service, engine: ScriptedEngine, frontend: Frontend) -> None:
    service.attach(engine, dataclasses.replace(frontend, names=("demo", "org/name", "own:8b")))
    for name in ("demo", "demo:latest", "org/name:latest", "own:8b"):
        answer = ask("/api/chat", {**CHAT, "model": name, "stream": False})
        assert (answer.status, answer.json["model"]) == (200, name)
        assert ask("/api/show", {"model": name}).status == 200
    for name in ("demo:7b", "other", "own", "own:8b:latest:latest"):
        answer = ask("/api/generate", {**GENERATE, "model": name})
        assert answer.status == 404
        assert f"'{name}' does not exist" in answer.json["error"]
    assert [each["name"] for each in ask("/api/tags").json["models"]] == ["demo:latest", "org/name:latest", "own:8b"]


@pytest.mark.parametrize(("keep_alive", "reason"), [(None, "load"), ("5m", "load"), (0, "unload"), ("0s", "unload")])
def test_nothing_to_answer_loads_or_unloads(ask: Ask, engine: ScriptedEngine, keep_alive: Any, reason: str) -> None:
    answer = ask("/api/generate", {"model": "demo", "keep_alive": keep_alive}).json
    assert (answer["response"], answer["done"], answer["done_reason"]) == ("", True, reason)
    answer = ask("/api/chat", {"model": "demo", "messages": [], "keep_alive": keep_alive}).json
    assert (answer["message"]["content"], answer["done_reason"]) == ("", reason)
    assert ask("/api/chat", {"model": "other"}).status == 404
    assert not engine.asked


def test_a_prompt_is_templated_unless_it_is_raw(ask: Ask, engine: ScriptedEngine, prompt_of: PromptOf) -> None:
    ask("/api/generate", {**GENERATE, "prompt": "Once upon", "raw": True})
    assert prompt_of(engine).strip() == "Once upon"
    ask("/api/generate", {**GENERATE, "system": "Be kind."})
    templated = prompt_of(engine)
    assert templated.index("Be kind.") < templated.index("Hello")
    ask("/api/chat", {**CHAT, "messages": [{"role": "system", "content": "Be kind."}, USER]})
    assert prompt_of(engine) == templated


def test_a_last_message_of_the_assistant_is_gone_on_with(ask: Ask, engine: ScriptedEngine, prompt_of: PromptOf) -> None:
    ask("/api/chat", {**CHAT, "messages": [USER, {"role": "assistant", "content": "It was a dark"}]})
    assert prompt_of(engine).endswith("It was a dark")


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
def test_the_form_of_the_text(ask: Ask, engine: ScriptedEngine, path: str) -> None:
    body = CHAT if path == "/api/chat" else GENERATE
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    for given in ("json", schema):
        assert ask(path, {**body, "format": given}).status == 200
        assert engine.asked[-1].guide is not None
    assert ask("/api/generate", {**GENERATE, "raw": True, "format": schema}).status == 200
    assert engine.asked[-1].guide is not None
    assert ask(path, {**body, "format": ""}).status == 200
    assert engine.asked[-1].guide is None


@pytest.mark.parametrize("stream", [True, False])
def test_calls_are_told_whole(ask: Ask, says: Says, stream: bool) -> None:
    says('<tool_call>{"name": "weather", "arguments": {"city": "Rome"}}</tool_call>'
         '<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>')  # fmt: skip
    body = {**CHAT, "tools": [WEATHER], "options": {"num_predict": 200}, "stream": stream}
    answer = ask("/api/chat", body)
    parts = lines(answer) if stream else [answer.json]
    calls = [call for part in parts for call in part["message"].get("tool_calls", ())]
    assert [call["function"]["arguments"] for call in calls] == [{"city": "Rome"}, {"city": "Oslo"}]
    assert [call["function"]["index"] for call in calls] == [0, 1]
    assert {call["function"]["name"] for call in calls} == {"weather"}
    assert parts[-1]["done_reason"] == "stop"


def test_results_find_their_calls(
    ask: Ask, engine: ScriptedEngine, service: Service, frontend: Frontend, prompt_of: PromptOf
) -> None:
    template = ChatTemplate(
        "{% for m in messages %}{% for c in m.tool_calls or [] %}[{{ c.id }}={{ c.function.name }}]{% endfor %}"
        "{% if m.role == 'tool' %}({{ m.tool_call_id }}={{ m.content }}){% endif %}{% endfor %}", {},
    )  # fmt: skip
    service.attach(engine, dataclasses.replace(frontend, chat_template=template, tool_template=None))
    names = ("weather", "time", "weather")
    called = [{"function": {"name": name, "arguments": {"city": "Rome"}}} for name in names]
    results = [
        {"role": "tool", "content": "noon", "tool_name": "time"},
        {"role": "tool", "content": "sunny", "tool_name": "weather"},
        {"role": "tool", "content": "rainy"},
    ]
    history = [USER, {"role": "assistant", "content": "", "tool_calls": called}, *results]
    assert ask("/api/chat", {**CHAT, "messages": history}).status == 200
    calls = "[call_1_0=weather][call_1_1=time][call_1_2=weather]"
    assert calls + "(call_1_1=noon)(call_1_0=sunny)(call_1_2=rainy)" in prompt_of(engine)
    more = [*history, {"role": "tool", "content": "x"}]
    assert ask("/api/chat", {**CHAT, "messages": more}).status == 400
    own = [USER, {"role": "assistant", "tool_calls": [{"id": "a", **called[0]}]}, {**results[2], "tool_call_id": "a"}]
    assert ask("/api/chat", {**CHAT, "messages": own}).status == 200
    assert "[a=weather](a=rainy)" in prompt_of(engine)


def test_calls_and_results_by_the_thousand_are_matched_in_a_moment() -> None:
    calls = OpenCalls()
    calls.add((f"id-{number}", f"name-{number % 2}") for number in range(100_000))
    assert [calls.close("name-1", "") for _ in range(4000)] == [f"id-{2 * number + 1}" for number in range(4000)]
    assert calls.close(None, "") == "id-0"
    assert calls.close("name-0", "") == "id-2"
    assert calls.close("other", "") == "id-4"


@pytest.mark.parametrize("stream", [True, False])
def test_thinking_is_apart(ask: Ask, says: Says, stream: bool) -> None:
    says("<think>First the sea.</think>It is deep.", thinking=THINK)
    for path, body in (("/api/chat", CHAT), ("/api/generate", GENERATE)):
        answer = ask(path, {**body, "think": True, "stream": stream, "options": {}})
        parts = lines(answer) if stream else [answer.json]
        said = [part.get("message", part) for part in parts]
        assert "".join(each.get("thinking", "") for each in said) == "First the sea."
        assert "".join(each.get("content", each.get("response", "")) for each in said) == "It is deep."


@pytest.mark.parametrize("stream", [True, False])
def test_log_probabilities(ask: Ask, stream: bool) -> None:
    answer = ask("/api/chat", {**CHAT, "logprobs": True, "stream": stream})
    parts = lines(answer) if stream else [answer.json]
    tokens = [entry for part in parts for entry in part.get("logprobs", ())]
    assert "".join(entry["token"] for entry in tokens).startswith(TEXT)
    assert all(entry["logprob"] <= 0 for entry in tokens)


def test_what_is_served(ask: Ask, service: Service) -> None:
    service.plan = {
        "model": {"architecture": {"model_type": "llama", "hidden_size": 64, "layers": 2, "heads": 4, "kv_heads": 2},
                  "parameters": 8_030_000_000, "weight_bytes": 16_000},
        "chosen": {"precision": "int8", "devices": [0, 1]},
        "memory": {"total": 5},
    }  # fmt: skip
    (tag,) = ask("/api/tags").json["models"]
    assert (tag["name"], tag["model"], tag["size"]) == ("demo:latest", "demo:latest", 16_000)
    assert len(tag["digest"]) == 64
    assert tag["details"] == {"parent_model": "", "format": "safetensors", "family": "llama", "families": ["llama"],
                              "parameter_size": "8.0B", "quantization_level": "INT8"}  # fmt: skip
    (loaded,) = ask("/api/ps").json["models"]
    assert (loaded["size"], loaded["size_vram"], loaded["context_length"]) == (10, 10, 512)
    shown = ask("/api/show", {"name": "demo"}).json
    assert shown["model_info"]["llama.context_length"] == 512
    assert shown["model_info"]["general.parameter_count"] == 8_030_000_000
    assert "completion" in shown["capabilities"]
    assert "messages" in shown["template"]
    assert ask("/api/show", {}).status == 400
    assert ask("/api/version").json["version"].count(".") == 2


def test_before_it_is_ready(ask: Ask, service: Service) -> None:
    service.lifecycle.detach()
    answer = ask("/api/chat", CHAT)
    assert (answer.status, set(answer.json)) == (503, {"error"})
    assert "retry-after" in answer.headers


def test_keys_browsers_and_counts_are_as_elsewhere(ask: Ask, service: Service) -> None:
    ask("/api/chat", CHAT)
    metrics = ask("/metrics").text
    assert 'stoker_http_requests_total{endpoint="/api/chat",status="200"} 1.0' in metrics
    for path, body in (("/api/chat", CHAT), ("/api/generate", GENERATE), ("/api/show", {"model": "demo"})):
        foreign = ask(path, body, headers={"origin": "https://evil.example"})
        assert (foreign.status, set(foreign.json)) == (403, {"error"})
        form = ask(path, body, headers={"content-type": "text/plain"})
        assert (form.status, set(form.json)) == (415, {"error"})
    service.exposure = Exposure(keys=Keys("secret"))
    for path in ("/api/tags", "/api/ps", "/api/version"):
        refused = ask(path)
        assert (refused.status, set(refused.json)) == (401, {"error"})
    assert ask("/api/chat", CHAT, headers={"authorization": "Bearer secret"}).status == 200
    assert ask("/", method="HEAD").status == 200


@pytest.mark.parametrize("path", ["/api/pull", "/api/delete", "/api/chat"])
def test_what_there_is_none_of(ask: Ask, path: str) -> None:
    answer = ask(path, method="DELETE")
    assert answer.status in (404, 405)
    assert set(answer.json) == {"error"}


def test_a_stream_that_fails_ends_with_a_line(
    ask: Ask, service: Service, frontend: Frontend, scripted: ModuleType
) -> None:
    def broken(generation: Any) -> Any:
        yield from list(scripted.one_by_one(frontend.tokenizer.encode_now("The sea", add_special_tokens=False)))
        raise RuntimeError("broken")

    service.attach(scripted.ScriptedEngine(broken), frontend)
    *parts, last = lines(ask("/api/chat", CHAT))
    assert parts
    assert set(last) == {"error"}


class _Encoding:
    def __init__(self) -> None:
        self.asked: list[Generation] = []

    async def generate(self, generation: Generation) -> AsyncGenerator[Delta, None]:
        self.asked.append(generation)
        yield Delta((), embedding=array("f", (1, float(len(generation.input_ids)))))

    async def state(self) -> EngineState:
        return EngineState(0, 0, 0, 1, 1)


def test_vectors(ask: Ask, service: Service, frontend: Frontend) -> None:
    pooling = Pooling("mean", False, 64)
    engine = _Encoding()
    service.attach(engine, dataclasses.replace(frontend, pooling=pooling, dimensions=2))
    answer = ask("/api/embed", {"model": "demo:latest", "input": ["a", "word " * 1000], "keep_alive": 0}).json
    assert len(answer["embeddings"]) == 2
    assert answer["prompt_eval_count"] == sum(len(each.input_ids) for each in engine.asked)
    assert answer["total_duration"] >= answer["load_duration"] > 0
    assert ask("/api/embed", {"model": "demo", "input": "word " * 1000, "truncate": False}).status == 400
    assert len(ask("/api/embed", {"model": "demo", "input": "a", "dimensions": 1}).json["embeddings"][0]) == 1
    assert len(ask("/api/embeddings", {"model": "demo", "prompt": "a"}).json["embedding"]) == 2
    assert ask("/api/show", {"model": "demo"}).json["capabilities"] == ["embedding"]
    assert ask("/api/chat", CHAT).status == 400
