"""Every feature of chat and plain completions through the openai SDK, against the real server.

The demo model has learnt neither tools nor JSON: what it says in a given form it says because a grammar holds it to it.
"""

from __future__ import annotations

import asyncio
import enum
import json
import re
import urllib.error
import urllib.request
from typing import Any, Literal

import jsonschema
import openai
import pydantic
import pytest

MESSAGES: list[Any] = [{"role": "user", "content": "Who are you?"}]
SHORT: dict[str, Any] = {"model": "demo", "messages": MESSAGES, "max_tokens": 200}
PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "mood": {"enum": ["happy", "sad"]},
    },
    "required": ["name", "age", "mood"],
    "additionalProperties": False,
}
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "maxLength": 20},
                "days": {"type": "integer", "maximum": 9, "minimum": 1},
            },
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
_ONE_OR_TWO = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}
ADD: Any = {"type": "function", "function": {"name": "add", "parameters": _ONE_OR_TWO}}
CALLED: dict[str, Any] = {"tool_choice": "required", "parallel_tool_calls": False}


@pytest.fixture
def client(demo):
    with openai.OpenAI(base_url=f"{demo.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def _schema(schema: Any) -> Any:
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def test_a_json_schema_is_kept_to_whole_and_streamed(client) -> None:
    for seed in range(3):
        answer = client.chat.completions.create(**SHORT, response_format=_schema(PERSON), seed=seed)
        jsonschema.validate(json.loads(answer.choices[0].message.content), PERSON)
        assert answer.choices[0].finish_reason == "stop"
    stream = client.chat.completions.create(**SHORT, response_format=_schema(PERSON), stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    jsonschema.validate(json.loads(text), PERSON)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Shape(pydantic.BaseModel):
    kind: Literal["circle", "square"]
    colour: Colour
    corners: list[int] = pydantic.Field(max_length=2)
    inside: Colour | None = None


def test_the_sdks_own_parsing_of_pydantic_models_works(client) -> None:
    answer = client.chat.completions.parse(**SHORT, response_format=Shape)
    assert isinstance(answer.choices[0].message.parsed, Shape)


@pytest.mark.parametrize(
    ("extra", "pattern"),
    [
        ({"guided_choice": ["yes", "no", "may\"be"]}, 'yes|no|may"be'),
        ({"guided_regex": r"\d{3}-[a-c]{2}"}, r"\d{3}-[a-c]{2}"),
        ({"guided_grammar": 'root ::= "(" [0-9]{1,3} ")" | "none"'}, r"\(\d{1,3}\)|none"),
        ({"guided_json": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3}}, r"\[.*\]"),
        ({"guided_json": '{"enum": [1, 2]}'}, "1|2"),
        ({"nvext": {"guided_choice": ["a", "b"]}}, "a|b"),
        ({"structured_outputs": {"regex": "[xy]{4}"}}, "[xy]{4}"),
    ],
)  # fmt: skip
def test_each_spelling_of_a_guide_works_for_both_endpoints(client, extra: dict[str, Any], pattern: str) -> None:
    chat = client.chat.completions.create(**SHORT, extra_body=extra)
    assert re.fullmatch(pattern, chat.choices[0].message.content)
    plain = client.completions.create(model="demo", prompt="Say:", max_tokens=100, extra_body=extra)
    assert re.fullmatch(pattern, plain.choices[0].text)


def test_json_object_gives_an_object(client) -> None:
    asked = {**SHORT, "max_tokens": 500, "seed": 5}
    answer = client.chat.completions.create(**asked, response_format={"type": "json_object"})
    choice = answer.choices[0]
    if choice.finish_reason == "stop":  # a model that was not taught JSON may also go on for ever
        assert isinstance(json.loads(choice.message.content), dict)
    assert choice.message.content.startswith("{")


def test_required_and_named_calls_are_made_and_valid(client) -> None:
    required = client.chat.completions.create(**SHORT, tools=[WEATHER, ADD], **CALLED)
    (call,) = required.choices[0].message.tool_calls
    assert required.choices[0].finish_reason == "tool_calls"
    assert required.choices[0].message.content is None
    schema = {"weather": WEATHER, "add": ADD}[call.function.name]["function"]["parameters"]
    jsonschema.validate(json.loads(call.function.arguments), schema)
    named: Any = {"type": "function", "function": {"name": "add"}}
    forced = client.chat.completions.create(**SHORT, tools=[WEATHER, ADD], tool_choice=named)
    assert [call.function.name for call in forced.choices[0].message.tool_calls] == ["add"]
    assert forced.choices[0].finish_reason == "stop"


def test_calls_are_streamed_and_answers_to_them_are_read(client) -> None:
    with client.chat.completions.stream(**SHORT, tools=[WEATHER], **CALLED) as stream:
        pieces = [event for event in stream if event.type == "tool_calls.function.arguments.delta"]
        message = stream.get_final_completion().choices[0].message
    assert len(pieces) > 3
    (call,) = message.tool_calls
    assert json.loads("".join(piece.arguments_delta for piece in pieces)) == json.loads(call.function.arguments)
    called = call.model_dump(include={"id", "type", "function"})
    del called["function"]["parsed_arguments"]
    said = {"role": "assistant", "content": None, "tool_calls": [called]}
    messages = [*MESSAGES, said, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    after = client.chat.completions.create(model="demo", messages=messages, tools=[WEATHER], max_tokens=20)
    assert after.usage.prompt_tokens > 40


def test_auto_and_none_leave_the_model_free(client) -> None:
    plain = client.chat.completions.create(**SHORT, temperature=0)
    none = client.chat.completions.create(**SHORT, temperature=0, tools=[WEATHER], tool_choice="none")
    assert none.choices[0].message.content == plain.choices[0].message.content
    auto = client.chat.completions.create(**SHORT, temperature=0, tools=[WEATHER])
    assert auto.choices[0].finish_reason in ("stop", "length")


def test_every_role_and_form_of_content_is_read(client) -> None:
    messages: list[Any] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "system", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": "kind."}], "name": "s"},
        {"role": "user", "content": [{"type": "text", "text": "Hello"}], "name": "anna"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Who are you?"},
    ]
    assert client.chat.completions.create(model="demo", messages=messages, max_tokens=10).choices[0].message.content


def test_log_probabilities_choices_seeds_and_stops(client) -> None:
    answer = client.chat.completions.create(**{**SHORT, "max_tokens": 8}, logprobs=True, n=2, seed=3, stop=["."])
    for choice in answer.choices:
        assert "." not in choice.message.content
        assert "".join(entry.token for entry in choice.logprobs.content).strip() in choice.message.content + "."
    first, second = (client.completions.create(model="demo", prompt="Once", seed=11, max_tokens=30) for _ in range(2))
    assert first.choices[0].text == second.choices[0].text
    best = client.completions.create(model="demo", prompt="Once", n=1, best_of=3, max_tokens=10, echo=True, seed=1)
    assert best.choices[0].text.startswith("Once")
    assert best.usage.completion_tokens > 10


def test_prompts_are_scored_and_the_likeliest_tokens_told(client) -> None:
    """Each of two prompts as it is scored alone, and greedy takes the likeliest."""
    asked = {"model": "demo", "echo": True, "logprobs": 2, "temperature": 0, "seed": 1234}
    both = client.completions.create(**asked, prompt=["The old man went down", "Once upon a time"], max_tokens=1)
    for choice, prompt in zip(both.choices, ("The old man went down", "Once upon a time"), strict=True):
        [alone] = client.completions.create(**asked, prompt=prompt, max_tokens=0).choices
        told, count = choice.logprobs, len(alone.logprobs.tokens)
        assert (alone.text, choice.text[: len(prompt)]) == (prompt, prompt)
        assert told.token_logprobs[0] is told.top_logprobs[0] is None
        assert told.token_logprobs[1:count] == pytest.approx(alone.logprobs.token_logprobs[1:], abs=1e-3)
        assert told.token_logprobs[-1] == max(told.top_logprobs[-1].values())
        assert len(told.tokens) == count + 1


def test_a_bias_and_the_likeliest_tokens_go_together(client) -> None:
    asked = {**SHORT, "temperature": 0, "max_tokens": 3, "logprobs": True, "top_logprobs": 3}
    plain = client.chat.completions.create(**asked).choices[0].logprobs.content
    assert all(entry.top_logprobs[0].token == entry.token for entry in plain)
    assert {len(entry.top_logprobs) for entry in plain} == {3}
    biased = client.chat.completions.create(**asked, logit_bias={"377": 100}).choices[0].logprobs.content
    assert len({entry.token for entry in biased}) == 1
    null = client.chat.completions.create(**asked, extra_body={"logit_bias": {"377": None}})
    assert null.choices[0].logprobs.content[0].token == plain[0].token


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
        ({"logit_bias": {"1000000": 10}}, "logit_bias"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}, "modalities"),
        ({"response_format": _schema({"not": {}})}, "response_format.json_schema.schema"),
        ({"max_thinking_tokens": 10}, "max_thinking_tokens"),
    ],
)
def test_what_cannot_be_done_is_a_400_that_names_it(client, extra: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**SHORT, extra_body=extra)
    assert caught.value.param == param


POISON: list[Any] = [
    {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}},
    {"$ref": "#/$defs/nowhere"},
    {"type": "strin"},
    {"type": 5},
    {"type": "string", "pattern": "(?=a)b"},
    {"anyOf": [{"$ref": "#"}]},
]


def _deep(demo, levels: int) -> int:
    """The status of a schema so deep that the SDK itself cannot write it."""
    schema = '{"items":' * levels + "true" + "}" * levels
    body = json.dumps({**SHORT, "guided_json": schema}).encode()
    nested = f'{{"model":"demo","messages":{json.dumps(MESSAGES)},"guided_json":{schema}}}'.encode()
    return max(_status(demo, each) for each in (body, nested))


def _status(demo, body: bytes) -> int:
    request = urllib.request.Request(f"{demo.url}/v1/chat/completions", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_many_schemas_free_texts_and_poison_at_once(demo) -> None:
    """200 texts under 50 schemas, beside free ones whose words stay what they are alone, and poisoned ones."""
    schemas = [{**PERSON, "properties": {**PERSON["properties"], f"p{n}": {"type": "boolean"}}} for n in range(50)]
    poison = [*POISON, {"enum": [f"v{n}" * 9 for n in range(4000)]}]

    async def run() -> tuple[list[Any], list[Any], list[Any], list[Any]]:
        async with openai.AsyncOpenAI(base_url=f"{demo.url}/v1", api_key="none", max_retries=0, timeout=300) as client:

            async def chat(**extra: Any) -> Any:
                answer = await client.chat.completions.create(**SHORT, **extra)
                return answer.choices[0]

            async def refused(schema: Any) -> Any:
                with pytest.raises(openai.BadRequestError) as caught:
                    await chat(response_format=_schema(schema))
                return caught.value.status_code

            alone = [await chat(temperature=0, extra_body={"guided_choice": [f"ok {n}"]}) for n in range(3)]
            guided = [chat(response_format=_schema(schemas[n % 50]), seed=n) for n in range(200)]
            free = [chat(temperature=0, seed=1) for _ in range(40)]
            poisoned = [refused(schema) for schema in poison for _ in range(5)]
            deep = [asyncio.to_thread(_deep, demo, levels) for levels in (100, 1000, 100_000)]
            done = await asyncio.gather(*guided, *free, *poisoned, *deep)
            return alone, done[:200], done[200:240], done[240:]

    alone, guided, free, statuses = asyncio.run(run())
    assert [choice.message.content for choice in alone] == ["ok 0", "ok 1", "ok 2"]
    assert set(statuses) == {400}
    assert all(choice.finish_reason in ("stop", "length") for choice in free)
    assert all(choice.message.content for choice in free)
    for number, choice in enumerate(guided):
        assert choice.finish_reason == "stop"
        jsonschema.validate(json.loads(choice.message.content), schemas[number % 50])
    assert demo.status("/v1/health/ready") == 200
