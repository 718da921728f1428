"""What only plain completions have: best_of, echo and suffix."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast

from openai.types import Completion

from stoker.serve.operate.frontend import Frontend
from stoker.serve.operate.service import Service
from stoker.serve.request.tokenizing import Tokenizer

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask
    from tests.unit.serve.scripted import ScriptedEngine


PLAIN: dict[str, Any] = {"model": "demo", "prompt": "Once upon a time", "max_tokens": 4}


def test_the_likeliest_of_several_are_given(ask: Ask, service: Service, frontend: Frontend, scripted: Any) -> None:
    texts = {"0": "alpha", "1": "beta", "2": "gamma", "3": "delta"}
    likelihoods = {"0": -3.0, "1": -0.25, "2": -2.0, "3": -1.0}

    class Ranked(scripted.ScriptedEngine):
        async def generate(self, generation: Any) -> Any:
            number = generation.request_id.rpartition("-")[2]
            async for delta in super().generate(generation):
                yield dataclasses.replace(delta, log_probs=[likelihoods[number]] * len(delta.ids))

    def script(generation: Any) -> Any:
        number = generation.request_id.rpartition("-")[2]
        return [frontend.tokenizer.encode_now(texts[number], add_special_tokens=False)[:2]]

    engine = Ranked(script)
    service.attach(engine, frontend)
    answer = Completion.model_validate(ask("/v1/completions", {**PLAIN, "best_of": 4, "n": 2}).json)
    assert [choice.index for choice in answer.choices] == [0, 1]
    first, second = (choice.text for choice in answer.choices)
    assert "beta".startswith(first.strip())
    assert "delta".startswith(second.strip())
    assert len(engine.asked) == 4
    assert all(generation.log_probs for generation in engine.asked)
    assert answer.choices[0].logprobs is None
    assert answer.usage is not None
    assert answer.usage.completion_tokens >= 4


def test_the_prompt_is_said_again(ask: Ask, frontend: Frontend) -> None:
    plain = ask("/v1/completions", PLAIN).json["choices"][0]["text"]
    assert ask("/v1/completions", {**PLAIN, "echo": True}).json["choices"][0]["text"] == PLAIN["prompt"] + plain
    events = ask("/v1/completions", {**PLAIN, "echo": True, "stream": True}).events
    assert events[0]["choices"][0]["text"].startswith(PLAIN["prompt"])
    assert "".join(event["choices"][0]["text"] for event in events) == PLAIN["prompt"] + plain
    ids = frontend.tokenizer.encode_now("a cat", add_special_tokens=False)
    several = ask("/v1/completions", {**PLAIN, "prompt": [ids, "and"], "echo": True, "n": 2} | {"prompt": [ids, ids]})
    assert all(choice["text"].startswith("a cat") for choice in several.json["choices"])


def test_a_gap_is_put_into_the_models_own_marks(
    ask: Ask, service: Service, frontend: Frontend, engine: ScriptedEngine
) -> None:
    marks = {"<|fim_prefix|>": 3, "<|fim_suffix|>": 4, "<|fim_middle|>": 5}

    class Filling:
        def __getattr__(self, name: str) -> Any:
            return getattr(frontend.tokenizer, name)

        def ids_of(self, tokens: Any) -> list[int] | None:
            return [marks[token] for token in tokens] if set(tokens) <= set(marks) else None

    service.attach(engine, dataclasses.replace(frontend, tokenizer=cast(Tokenizer, Filling())))
    assert ask("/v1/completions", {**PLAIN, "suffix": "the end."}).status == 200
    encode = frontend.tokenizer.encode_now
    before, after = (encode(text, add_special_tokens=False) for text in (PLAIN["prompt"], "the end."))
    assert list(engine.asked[-1].input_ids) == [3, *before, 4, *after, 5]
