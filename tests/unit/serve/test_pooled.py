"""/v1/embeddings, /v1/rerank and /v1/ranking over an engine that gives a vector made of the ids it was given."""

from __future__ import annotations

import asyncio
import base64
import math
from array import array
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import openai
import pytest

from stoker.launch.generation import Delta, EngineState, Generation
from stoker.resolve.model import Pooling
from stoker.serve.apis.pooled.requests import MOST_INPUTS
from stoker.serve.operate.frontend import Frontend
from stoker.serve.operate.service import Service

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask, Reply, WithClient


WIDTH = 8
LENGTH = 24
TEXT = "Once upon a time"


def vector_of(ids: Any) -> list[float]:
    """Of length 1, and of these ids alone."""
    values = np.random.default_rng(list(ids)).standard_normal(WIDTH)
    return [float(value) for value in (values / np.linalg.norm(values)).astype(np.float32)]


@dataclass
class EncodingEngine:
    """`scores`: one number for each input instead of a vector: how many tokens it has, less ten."""

    scores: bool = False
    asked: list[Generation] = field(default_factory=list)
    running: int = 0
    most: int = 0

    async def generate(self, generation: Generation) -> AsyncGenerator[Delta, None]:
        self.asked.append(generation)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
            values = [len(generation.input_ids) - 10.0] if self.scores else vector_of(generation.input_ids)
            yield Delta((), embedding=array("f", values))
        finally:
            self.running -= 1

    async def state(self) -> EngineState:
        return EngineState(0, 0, 0, 0, 32)


@pytest.fixture
def pooled(service: Service, frontend: Frontend) -> Any:
    """Makes the service one of a model that pools this way."""

    def attach(method: str = "mean", **ways: Any) -> EncodingEngine:
        engine = EncodingEngine(scores=method == "score")
        pooling = Pooling(method, True, LENGTH, **ways)
        context = replace(frontend.context, length=LENGTH)
        service.attach(engine, replace(frontend, pooling=pooling, dimensions=WIDTH, context=context))
        return engine

    return attach


def ids_of(frontend: Frontend, text: str) -> list[int]:
    ids: list[int] = frontend.tokenizer.encode_now(text, add_special_tokens=True)
    return ids


def embed(ask: Ask, given: Any = TEXT, **more: Any) -> Any:
    return ask("/v1/embeddings", {"model": "demo", "input": given, **more})


def vectors(answer: Reply) -> list[Any]:
    """Lists of floats, or in base64 as text."""
    assert answer.status == 200, answer.text
    assert [each["index"] for each in answer.json["data"]] == list(range(len(answer.json["data"])))
    return [each["embedding"] for each in answer.json["data"]]


def test_a_text_its_ids_and_lists_of_either_are_the_same(ask: Ask, pooled: Any, frontend: Frontend) -> None:
    pooled()
    ids = ids_of(frontend, TEXT)
    one = vectors(embed(ask))
    assert one == [vector_of(ids)]
    assert vectors(embed(ask, [TEXT])) == vectors(embed(ask, ids)) == vectors(embed(ask, [ids])) == one
    several = embed(ask, [TEXT, "A boat", ids])
    assert vectors(several) == [one[0], vector_of(ids_of(frontend, "A boat")), one[0]]
    tokens = 2 * len(ids) + len(ids_of(frontend, "A boat"))
    assert several.json["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert (several.json["object"], several.json["model"]) == ("list", "demo")


def test_base64_is_of_little_endian_floats(ask: Ask, pooled: Any) -> None:
    pooled()
    encoded = vectors(embed(ask, encoding_format="base64"))[0]
    assert np.frombuffer(base64.b64decode(encoded), "<f4").tolist() == vectors(embed(ask))[0]


@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_the_sdk_reads_either_encoding(with_client: WithClient, pooled: Any, frontend: Frontend, encoding: Any) -> None:
    pooled()
    asked = {} if encoding is None else {"encoding_format": encoding}

    async def use(client: openai.AsyncOpenAI) -> None:
        answer = await client.embeddings.create(model="demo", input=[TEXT], user="u", **asked)
        found = answer.data[0].embedding
        values = np.frombuffer(base64.b64decode(found), "<f4").tolist() if isinstance(found, str) else found
        assert values == vector_of(ids_of(frontend, TEXT))

    with_client(lambda url: openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0), use)


def test_fewer_dimensions_are_cut_and_of_length_one_again(ask: Ask, pooled: Any) -> None:
    pooled()
    whole, short = vectors(embed(ask))[0], vectors(embed(ask, dimensions=3))[0]
    assert math.isclose(math.hypot(*short), 1, rel_tol=1e-6)
    assert short == pytest.approx([value / math.hypot(*whole[:3]) for value in whole[:3]], rel=1e-6)
    assert vectors(embed(ask, dimensions=WIDTH))[0] == whole


def test_the_models_own_prompts_go_before_texts(ask: Ask, pooled: Any, frontend: Frontend) -> None:
    pooled(prompts={"query": "Find: ", "document": "", "plain": "See "}, default_prompt="plain")
    assert vectors(embed(ask, "it", input_type="query"))[0] == vector_of(ids_of(frontend, "Find: it"))
    assert vectors(embed(ask, "it", input_type="passage"))[0] == vector_of(ids_of(frontend, "it"))
    assert vectors(embed(ask, "it"))[0] == vector_of(ids_of(frontend, "See it"))
    ids = ids_of(frontend, "it")
    assert vectors(embed(ask, ids, input_type="query"))[0] == vector_of(ids)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"input": ""}, "input", "invalid_value"),
        ({"input": []}, "input", "invalid_value"),
        ({"input": [TEXT, ""]}, "input[1]", "invalid_value"),
        ({"input": [[1, 2], []]}, "input[1]", "invalid_value"),
        ({"input": [TEXT, 5]}, "input[1]", "invalid_type"),
        ({"input": [5, TEXT]}, "input[1]", "invalid_type"),
        ({"input": [99999999]}, "input[0]", "invalid_value"),
        ({"input": [TEXT] * (MOST_INPUTS + 1)}, "input", "invalid_value"),
        ({"input": ["a", "boat " * LENGTH]}, "input[1]", "context_length_exceeded"),
        ({"input": [7] * (LENGTH + 1)}, "input", "context_length_exceeded"),
        ({"dimensions": 0}, "dimensions", "invalid_value"),
        ({"dimensions": WIDTH + 1}, "dimensions", "invalid_value"),
        ({"encoding_format": "int8"}, "encoding_format", "invalid_value"),
        ({"input_type": "song"}, "input_type", "invalid_value"),
        ({"truncate_prompt_tokens": LENGTH + 1}, "truncate_prompt_tokens", "invalid_value"),
        ({"truncate_prompt_tokens": 0}, "truncate_prompt_tokens", "invalid_value"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(ask: Ask, pooled: Any, body: Any, param: str, code: str) -> None:
    engine = pooled()
    answer = ask("/v1/embeddings", {"model": "demo", "input": TEXT, **body})
    assert (answer.status, answer.error["param"], answer.error["code"]) == (400, param, code)
    assert not engine.asked
    if code == "context_length_exceeded":
        assert str(LENGTH) in answer.error["message"]


def test_an_unknown_model_is_a_404(ask: Ask, pooled: Any) -> None:
    pooled()
    assert ask("/v1/embeddings", {"model": "other", "input": TEXT}).status == 404


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"truncate": "END"}, slice(None, LENGTH)),
        ({"truncate": "START"}, slice(-LENGTH, None)),
        ({"truncate_prompt_tokens": -1}, slice(None, LENGTH)),
        ({"truncate_prompt_tokens": 5}, slice(None, 5)),
        ({"truncate_prompt_tokens": 5, "truncate": "START"}, slice(-5, None)),
    ],
)
def test_a_long_input_is_cut_only_on_request(ask: Ask, pooled: Any, given: Any, kept: slice) -> None:
    engine = pooled()
    ids = list(range(300, 300 + 2 * LENGTH))
    assert embed(ask, ids, **given).json["usage"]["prompt_tokens"] == len(ids[kept])
    assert list(engine.asked[-1].input_ids) == ids[kept]


def test_control_tokens_are_not_what_is_cut_off(ask: Ask, pooled: Any, frontend: Frontend) -> None:
    engine = pooled()
    assert embed(ask, "boat " * 100, truncate="END").status == 200
    whole = ids_of(frontend, "boat " * 100)
    plain = frontend.tokenizer.encode_now("boat " * 100, add_special_tokens=False)
    special = len(whole) - len(plain)
    ids = list(engine.asked[-1].input_ids)
    assert len(ids) == LENGTH
    assert set(plain[: LENGTH - special]) <= set(ids)


def test_many_inputs_take_as_many_places_as_there_are(ask: Ask, service: Service, pooled: Any) -> None:
    engine = pooled()
    service.admission.resize(replace(service.admission._capacity, sequences=4))
    assert len(vectors(embed(ask, [f"text {number}" for number in range(50)]))) == 50
    assert engine.most == 4


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank"])
def test_documents_come_in_the_order_of_their_scores(ask: Ask, pooled: Any, path: str) -> None:
    pooled("score")
    documents = ["a", {"text": "a a a a a a a a a"}, "a a a"]
    answer = ask(path, {"model": "demo", "query": "q", "documents": documents, "return_documents": True})
    assert answer.status == 200, answer.text
    results = answer.json["results"]
    assert [each["index"] for each in results] == [1, 2, 0]
    assert results[0]["document"] == {"text": "a a a a a a a a a"}
    assert [each["relevance_score"] for each in results] == sorted(
        (x["relevance_score"] for x in results), reverse=True
    )
    assert all(0 < each["relevance_score"] < 1 for each in results)
    assert answer.json["usage"]["total_tokens"] > 0
    best = ask(path, {"model": "demo", "query": "q", "documents": documents, "top_n": 1}).json["results"]
    assert best == [{"index": 1, "relevance_score": results[0]["relevance_score"]}]


def test_nims_rankings_are_logits(ask: Ask, pooled: Any) -> None:
    engine = pooled("score")
    body = {"model": "demo", "query": {"text": "q"}, "passages": [{"text": "a"}, {"text": "a a a"}], "truncate": "END"}
    answer = ask("/v1/ranking", body)
    lengths = [len(each.input_ids) for each in engine.asked]
    assert answer.json["rankings"] == [{"index": i, "logit": lengths[i] - 10.0} for i in (1, 0)]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"query": ""}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": ["a", "boat " * LENGTH]}, "documents[1]"),
        ({"documents": [3]}, "documents[0]"),
        ({"query": "boat " * LENGTH, "truncate": "END"}, "query"),
        ({"top_n": 0}, "top_n"),
    ],
)
def test_reranking_refuses_by_name(ask: Ask, pooled: Any, body: Any, param: str) -> None:
    engine = pooled("score")
    answer = ask("/v1/rerank", {"model": "demo", "query": "q", "documents": ["a"], **body})
    assert (answer.status, answer.error["param"]) == (400, param)
    assert not engine.asked


BODIES = {
    "/v1/chat/completions": {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]},
    "/v1/completions": {"model": "demo", "prompt": "Once"},
    "/v1/responses": {"model": "demo", "input": "Hello"},
    "/v1/messages": {"model": "demo", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5},
    "/v1/embeddings": {"model": "demo", "input": TEXT},
    "/v1/rerank": {"model": "demo", "query": "q", "documents": ["a"]},
    "/v1/ranking": {"model": "demo", "query": {"text": "q"}, "passages": [{"text": "a"}]},
}


@pytest.mark.parametrize(
    ("method", "own"),
    [("", list(BODIES)[:4]), ("mean", ["/v1/embeddings"]), ("score", ["/v1/rerank", "/v1/ranking"])],
)
def test_every_other_endpoint_says_what_the_model_is_for(ask: Ask, pooled: Any, method: str, own: list[str]) -> None:
    if method:
        pooled(method)
    for path, body in BODIES.items():
        if path not in own:
            answer = ask(path, body)
            assert answer.status == 400, path
            assert "POST /v1/" in answer.text
        elif method:
            assert ask(path, body).status == 200


@pytest.mark.parametrize(("method", "gives"), [("", "text"), ("mean", "embeddings"), ("score", "relevance scores")])
def test_the_status_says_what_the_model_gives(ask: Ask, pooled: Any, method: str, gives: str) -> None:
    if method:
        pooled(method)
    assert ask("/v1/status").json["gives"] == gives


def test_what_was_encoded_is_counted(ask: Ask, pooled: Any) -> None:
    pooled()
    tokens = embed(ask, [TEXT, TEXT]).json["usage"]["prompt_tokens"]
    page = ask("/metrics").text
    assert f'prompt_tokens_total{{model_name="demo"}} {tokens:.1f}' in page
    assert 'request_success_total{model_name="demo"} 1.0' in page
    assert 'generation_tokens_total{model_name="demo"} 0.0' in page
