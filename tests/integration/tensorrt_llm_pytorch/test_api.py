"""The real API process over the PyTorch kind: planned, built, launched, its requests in TensorRT-LLM's own words."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.error

import pytest
from tests.served import events
from tokenizers import Tokenizer

from stoker.launch.server import process_lives
from stoker.resolve.local import DEMO_DIRECTORY

TOKENIZER = Tokenizer.from_file(str(DEMO_DIRECTORY / "tokenizer.json"))
CHAT = [{"role": "user", "content": "Who are you?"}]


def test_the_plan_reaches_the_llm(server, heard):
    (llm,) = heard(server, "llm")
    assert llm["dtype"] == "bfloat16"
    assert (llm["max_seq_len"], llm["max_num_tokens"], llm["tensor_parallel_size"]) == (2048, 2048, 1)
    assert llm["enable_chunked_prefill"] is True
    assert llm["guided_decoding_backend"] == "xgrammar"
    assert "dtype='auto'" in llm["kv_cache_config"]
    (tokens,) = re.findall(r"max_tokens=(\d+)", llm["kv_cache_config"])
    assert int(tokens) == 32 * server.metric("stoker_kv_blocks")


def test_the_engine_holds_links_to_the_checkpoint(server):
    (engine,) = (server.folder / "cache" / "engines").iterdir()
    manifest = json.loads((engine / "engine.json").read_text())
    assert manifest["kind"] == "tensorrt_llm_pytorch"
    assert manifest["versions"]["tensorrt-llm"] == "1.2.1"
    assert (engine / "checkpoint" / "model.safetensors").stat().st_size > 1_000_000
    assert manifest["build"]["copied_bytes"] in (
        0,
        sum(path.stat().st_size for path in (engine / "checkpoint").iterdir()),
    )


def test_tokens_stream(server):
    whole = server.complete(max_tokens=12)
    assert whole["usage"]["completion_tokens"] == 12
    assert whole["choices"][0]["finish_reason"] == "length"
    with server.open("completions", prompt="Once", ignore_eos=True, max_tokens=12, stream=True) as stream:
        *pieces, done = events(stream)
    assert done == "[DONE]"
    assert len(pieces) > 1
    assert "".join(json.loads(piece)["choices"][0]["text"] for piece in pieces) == whole["choices"][0]["text"]


def test_sampling_is_passed_on_in_the_llm_s_own_words(server, heard):
    sampling = {"temperature": 0.75, "top_p": 0.5, "seed": 4, "presence_penalty": 0.5, "frequency_penalty": 0.25}
    server.complete(max_tokens=3, top_k=7, min_p=0.125, repetition_penalty=1.5, **sampling)
    told = heard(server, "request")[-1]
    assert {name: told[name] for name in sampling} == sampling
    assert (told["top_k"], told["min_p"], told["repetition_penalty"], told["max_tokens"]) == (7, 0.125, 1.5, 3)
    assert (told["ignore_eos"], told["detokenize"], told["include_stop_str_in_output"]) == (True, False, True)


def test_a_bias_reaches_the_llm_as_a_tensor_and_what_is_no_token_is_refused(server, heard):
    for wanted in (300, 301):
        choice = server.complete(max_tokens=2, logprobs=0, logit_bias={str(wanted): 100, "7": -1.5})["choices"][0]
        token = TOKENIZER.id_to_token(wanted)
        assert token is not None
        assert choice["logprobs"]["tokens"] == [token.replace("\u0120", " ")] * 2
    before = len(heard(server, "request"))
    for refused in ({"x": 1}, {"2048": 1}, {"-1": 1}, {"5": 101}):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            server.complete(max_tokens=1, logit_bias=refused)
    assert len(heard(server, "request")) == before


def test_cached_tokens_are_told(server):
    asked = {"prompt": "A new prompt, of a hundred tokens or more. " * 12, "max_tokens": 2}
    first, second = (server.post("completions", **asked)["usage"] for _ in range(2))
    assert first["prompt_tokens_details"] == {"cached_tokens": 0}
    assert second["prompt_tokens_details"] == {"cached_tokens": second["prompt_tokens"] // 32 * 32}
    assert second["prompt_tokens"] > 64


def test_greedy_is_said_and_unset_seeds_differ(server, heard):
    server.complete(max_tokens=1, temperature=0)
    assert heard(server, "request")[-1]["top_k"] == 1
    assert "temperature" not in heard(server, "request")[-1]
    for _ in range(2):
        server.complete(max_tokens=1, temperature=1, top_p=1)
    first, second = heard(server, "request")[-2:]
    assert first["seed"] != second["seed"]
    assert first["top_p"] == 1.0


def test_a_schema_reaches_the_llm_as_a_grammar_and_a_broken_one_does_not(server, heard):
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "one", "schema": schema}}
    with server.open("chat/completions", messages=CHAT, max_tokens=4, response_format=form) as answer:
        json.load(answer)
    guide = heard(server, "request")[-1]["guided_decoding"]
    assert "root ::=" in guide.pop("grammar")
    assert not any(guide.values())
    before = len(heard(server, "request"))
    broken = {"type": "json_schema", "json_schema": {"name": "one", "schema": {"type": "nothing"}}}
    with pytest.raises(urllib.error.HTTPError, match="400"):
        server.open("chat/completions", messages=CHAT, max_tokens=4, response_format=broken)
    assert len(heard(server, "request")) == before


def test_log_probabilities_come_with_the_tokens(server, heard):
    choice = server.complete(max_tokens=8, logprobs=1)["choices"][0]
    assert choice["logprobs"]["token_logprobs"] == [-0.5] * 8
    assert heard(server, "request")[-1]["logprobs"] == 1


def test_the_models_end_of_sequence_is_told(server, heard):
    with server.open("completions", prompt="Once", max_tokens=4) as answer:
        json.load(answer)
    told = heard(server, "request")[-1]
    assert told["end_id"] == told["pad_id"] >= 0
    assert told["ignore_eos"] is False


def test_a_client_that_goes_away_is_aborted_in_the_engine(server, heard):
    before = len(heard(server, "abort"))
    stream = server.open("completions", prompt="Once", ignore_eos=True, max_tokens=1900, stream=True)
    stream.readline()
    stream.close()
    server.wait_until(lambda: len(heard(server, "abort")) == before + 1)
    server.wait_until(lambda: server.metric("stoker_kv_blocks_used") == 0)


def test_a_killed_engine_is_an_error_to_the_client_and_then_all_is_well(server, heard):
    with server.open("completions", prompt="Once", ignore_eos=True, max_tokens=1900, stream=True) as stream:
        stream.readline()
        os.kill(heard(server, "llm", whole=True)[-1]["pid"], signal.SIGKILL)
        assert json.loads(events(stream)[-1])["error"]["type"]
    server.wait_until(lambda: "restarting it" in server.log.read_text())
    server.wait_until(lambda: server.status("/v1/health/ready") == 200)
    assert server.complete(max_tokens=3)["usage"]["completion_tokens"] == 3


def test_two_gpus_are_two_processes_and_a_drain_ends_both(on_two, heard):
    server = on_two
    starts = {entry["started"]: entry["gpus"] for entry in heard(server, "started", whole=True)}
    assert starts == {0: "GPU-0,GPU-1", 1: "GPU-0,GPU-1"}
    pids = [entry["pid"] for entry in heard(server, "started", whole=True)]
    with server.open("completions", prompt="Once", ignore_eos=True, max_tokens=1500, stream=True) as stream:
        stream.readline()
        server.process.send_signal(signal.SIGTERM)
        received = events(stream)
    assert received[-1] == "[DONE]"
    assert json.loads(received[-2])["choices"][0]["finish_reason"] == "length"
    assert server.process.wait(120) == 0
    deadline = time.monotonic() + 10
    while any(process_lives(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)
