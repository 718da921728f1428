"""From a directory to vectors and scores over HTTP: plan, build, store, real Triton, the SDK."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openai
from tests.embedding_models import character_tokenizer, make_embedding_model
from tests.leftovers import left_by
from tests.serving import Server

PARALLEL = 200


def client_of(server: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=60)


def post(server: Any, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    request = urllib.request.Request(server.url + path, json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def embed(server: Any, model: str, given: Any, **more: Any) -> np.ndarray:
    with client_of(server) as client:
        answer = client.embeddings.create(model=model, input=given, **more)
    return np.array([each.embedding for each in answer.data])


def test_the_plan_says_how_the_vectors_are_made_and_has_no_cache(tmp_path: Path) -> None:
    model = make_embedding_model(tmp_path / "bert", "bert_cls", prompts={"query": "q: "})
    command = [sys.executable, "-m", "stoker", "plan", str(model)]
    page = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "vectors pooled by cls, of length 1; prompts for query (modules.json and 1_Pooling/config.json)" in page
    assert "no KV cache" in page
    assert "openvino-embedding-int8-throughput" in page
    assert "KV cache " not in page.split("Memory")[1].split("Rejected")[0]


def test_generate_refuses_a_model_that_gives_no_text(tmp_path: Path) -> None:
    model = make_embedding_model(tmp_path / "bert", "bert_cls")
    command = [sys.executable, "-m", "stoker", "generate", str(model), "--prompt", "Once", "--cache", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 64
    assert f"stoker serve {model}" in ended.stderr


def test_an_exported_engine_serves_the_same_vectors(embedder: Any, cache: Path, tmp_path: Path) -> None:
    engine = next(path for path in (cache / "engines").iterdir() if path.name.startswith("qwen3_last"))
    served = Server(tmp_path / "server.log", [str(engine), "--cache", str(tmp_path / "cache")], {})
    try:
        served.wait_ready()
        assert np.allclose(embed(served, "qwen3_last", "Hello"), embed(embedder, "qwen3_last", "Hello"), atol=1e-6)
    finally:
        served.stop()


def test_the_sdk_gets_the_same_vectors_in_both_encodings_and_from_ids(embedder: Any) -> None:
    texts = ["Hello", "a longer text, with some words in it"]
    ids = [character_tokenizer().encode(text).ids for text in texts]
    with client_of(embedder) as client:
        usual = client.embeddings.create(model="qwen3_last", input=texts)
        plain = client.embeddings.create(model="qwen3_last", input=texts, encoding_format="float")
        coded = client.embeddings.create(model="qwen3_last", input=ids, encoding_format="base64")
    assert [each.embedding for each in usual.data] == [each.embedding for each in plain.data]
    decoded = [np.frombuffer(base64.b64decode(str(each.embedding)), "<f4").tolist() for each in coded.data]
    assert np.allclose(decoded, [each.embedding for each in plain.data], atol=1e-6)
    assert usual.usage.prompt_tokens == usual.usage.total_tokens == sum(map(len, ids))
    assert np.allclose(np.linalg.norm([each.embedding for each in plain.data], axis=1), 1, atol=1e-5)


def test_dimensions_prompts_and_long_texts(embedder: Any) -> None:
    whole, short = (embed(embedder, "qwen3_last", "Hello", **more)[0] for more in ({}, {"dimensions": 16}))
    assert np.allclose(short, whole[:16] / np.linalg.norm(whole[:16]), atol=1e-6)
    asked = {"extra_body": {"input_type": "query"}}
    query, spelled = embed(embedder, "qwen3_last", "x", **asked), embed(embedder, "qwen3_last", "Find: x")
    assert np.allclose(query, spelled, atol=1e-6)
    status, answer = post(embedder, "/v1/embeddings", {"model": "qwen3_last", "input": "x" * 600})
    assert status == 400
    assert "512 tokens" in answer["error"]["message"]
    cut = {"model": "qwen3_last", "input": "x" * 600, "truncate": "END"}
    assert post(embedder, "/v1/embeddings", cut)[1]["usage"]["prompt_tokens"] == 512


def test_ollamas_endpoints_give_the_same_vectors(embedder: Any) -> None:
    texts = ["The sea is deep.", "x" * 600]
    asked = {"model": "qwen3_last", "input": texts, "truncate": "END"}
    expected = [each["embedding"] for each in post(embedder, "/v1/embeddings", asked)[1]["data"]]
    status, answer = post(embedder, "/api/embed", {"model": "qwen3_last:latest", "input": texts})
    assert (status, answer["prompt_eval_count"] > 512) == (200, True)
    assert np.allclose(answer["embeddings"], expected, atol=1e-5)
    single = post(embedder, "/api/embeddings", {"model": "qwen3_last", "prompt": texts[0]})[1]["embedding"]
    assert np.allclose(single, expected[0], atol=1e-5)


def test_many_at_once_get_what_each_gets_alone(embedder: Any) -> None:
    texts = [f"{'text ' * (number % 7)}number {number}" for number in range(PARALLEL)]
    together = embed(embedder, "qwen3_last", texts)
    with client_of(embedder) as client, ThreadPoolExecutor(32) as pool:
        answers = pool.map(lambda text: client.embeddings.create(model="qwen3_last", input=text), texts)
        found = np.array([answer.data[0].embedding for answer in answers])
    cosines = np.sum(found * together, axis=1)
    assert cosines.min() > 0.999
    assert np.argmax(found @ together.T, axis=1).tolist() == list(range(PARALLEL))


def test_an_embedding_server_generates_no_text_and_says_so(embedder: Any) -> None:
    body = {"model": "qwen3_last", "messages": [{"role": "user", "content": "Hello"}]}
    status, answer = post(embedder, "/v1/chat/completions", body)
    assert (status, answer["error"]["code"]) == (400, "wrong_endpoint")
    assert "/v1/embeddings" in answer["error"]["message"]


def test_documents_are_ranked_alike_in_every_form(reranker: Any) -> None:
    documents = ["alpha", "beta and gamma", "something else that is quite long", "z"]
    body = {"model": "bert_score", "query": "which one?", "documents": documents}
    (status, answer), (_, alias) = post(reranker, "/v1/rerank", body), post(reranker, "/rerank", body)
    assert status == 200
    results = answer["results"]
    assert results == alias["results"]
    scores = [each["relevance_score"] for each in results]
    assert scores == sorted(scores, reverse=True)
    assert sorted(each["index"] for each in results) == [0, 1, 2, 3]
    nims = {"model": "bert_score", "query": {"text": "which one?"}, "passages": [{"text": text} for text in documents]}
    rankings = post(reranker, "/v1/ranking", nims)[1]["rankings"]
    assert [each["index"] for each in rankings] == [each["index"] for each in results]
    assert np.allclose(1 / (1 + np.exp([-each["logit"] for each in rankings])), scores)
    assert len({round(score, 6) for score in scores}) == len(scores)


def test_a_killed_stub_comes_back_and_sigterm_leaves_nothing(bert: Any) -> None:
    before = embed(bert, "bert_cls", ["Hello", "there"])
    os.kill(bert.stub(), signal.SIGKILL)
    bert.wait_until(lambda: "restarting" in bert.output, "restarted")
    bert.wait_ready()
    assert np.allclose(embed(bert, "bert_cls", ["Hello", "there"]), before, atol=1e-6)
    children = bert.children()
    assert left_by(bert.process.pid)
    assert bert.stop() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    assert left_by(bert.process.pid) == []
