"""Anthropic's and OpenAI's newer API by their SDKs, and what surrounds every request, against the real server."""

from __future__ import annotations

import json
import ssl
import threading
import urllib.request
from collections import Counter
from pathlib import Path

import anthropic
import httpx
import openai
import pytest
import trustme
from tests.otlp_collector import Collector, collecting

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Rome", "Bonn"]}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
ASKED = [{"role": "user", "content": "Who are you?"}]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
GREEDY = {"temperature": 0}


@pytest.fixture
def claude(demo):
    with anthropic.Anthropic(base_url=demo.url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def collector():
    with collecting() as one:
        yield one


@pytest.fixture
def client(demo):
    with openai.OpenAI(base_url=f"{demo.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_messages_whole_streamed_and_counted(claude) -> None:
    body = {"model": "demo", "max_tokens": 60, "messages": ASKED, "extra_body": GREEDY}
    whole = claude.messages.create(**body)
    assert len(whole.content[0].text.split()) >= 3
    assert whole.stop_reason == "end_turn"
    with claude.messages.stream(**body) as stream:
        assert "".join(stream.text_stream) == whole.content[0].text
        assert stream.get_final_message().usage.output_tokens == whole.usage.output_tokens
    counted = claude.messages.count_tokens(model="demo", messages=ASKED)
    assert counted.input_tokens == whole.usage.input_tokens
    stop = whole.content[0].text.split()[1]
    cut = claude.messages.create(**body, stop_sequences=[stop])
    assert (cut.stop_reason, cut.stop_sequence) == ("stop_sequence", stop)


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "weather"}])
def test_a_tool_that_must_be_called_is_called_as_its_schema_says(claude, choice: dict[str, str]) -> None:
    tool = {"name": "weather", "input_schema": CITY}
    body = {"model": "demo", "max_tokens": 300, "messages": ASKED, "tools": [tool], "tool_choice": choice}
    whole = claude.messages.create(**body, extra_body=GREEDY)
    assert whole.stop_reason == "tool_use"
    with claude.messages.stream(**body, extra_body=GREEDY) as stream:
        final = stream.get_final_message()
    for block in (*whole.content, *final.content):
        assert (block.type, block.name) == ("tool_use", "weather")
        assert block.input["city"] in ("Rome", "Bonn")
        assert isinstance(block.input["days"], int)


def test_responses_whole_streamed_and_structured(client) -> None:
    whole = client.responses.create(model="demo", input="Who are you?", temperature=0, max_output_tokens=60)
    assert len(whole.output_text.split()) >= 3
    with client.responses.stream(model="demo", input="Who are you?", temperature=0, max_output_tokens=60) as stream:
        assert stream.get_final_response().output_text == whole.output_text
    form = {"type": "json_schema", "name": "trip", "schema": CITY, "strict": True}
    answer = client.responses.create(model="demo", input="Where to?", text={"format": form}, max_output_tokens=300)
    assert json.loads(answer.output_text)["city"] in ("Rome", "Bonn")
    tool = {"type": "function", "name": "weather", "parameters": CITY, "strict": True}
    called = client.responses.create(
        model="demo", input="Go", tools=[tool], tool_choice="required", max_output_tokens=300
    )
    calls = [item for item in called.output if item.type == "function_call"]
    assert json.loads(calls[0].arguments)["city"] in ("Rome", "Bonn")


def test_tokens_there_and_back(demo) -> None:
    def post(path: str, body: object) -> dict:
        return httpx.post(demo.url + path, json=body, timeout=30).json()

    text = "The quick brown fox, naïve and 🦊."
    tokens = post("/tokenize", {"prompt": text, "add_special_tokens": False})["tokens"]
    assert post("/detokenize", {"tokens": tokens}) == {"prompt": text}


def test_a_conversation_goes_on_after_a_restart(start, tmp_path: Path) -> None:
    kept = str(tmp_path / "responses")
    first_server = start("demo", "--response-store", kept)
    first_server.wait_ready()
    with openai.OpenAI(base_url=f"{first_server.url}/v1", api_key="none") as client:
        first = client.responses.create(model="demo", input="I am called Ida.", store=True, max_output_tokens=20)
        alone = client.responses.create(model="demo", input="What am I called?", max_output_tokens=20)
    first_server.stop()
    second_server = start("demo", "--response-store", kept)
    second_server.wait_ready()
    with openai.OpenAI(base_url=f"{second_server.url}/v1", api_key="none") as client:
        second = client.responses.create(
            model="demo", input="What am I called?", previous_response_id=first.id, max_output_tokens=20
        )
        assert first.usage is not None
        assert alone.usage is not None
        assert second.usage is not None
        assert second.usage.input_tokens > alone.usage.input_tokens + first.usage.output_tokens
        assert client.responses.retrieve(first.id).output_text == first.output_text


def test_a_flood_is_answered_or_told_when_to_come_back(start) -> None:
    server = start("demo", "--max-queue", "3", "--max-batch-size", "2")
    server.wait_ready()
    seen: Counter[int] = Counter()
    waits = []

    def ask() -> None:
        body = {"model": "demo", "prompt": "Once", "max_tokens": 600, "ignore_eos": True}
        answer = httpx.post(f"{server.url}/v1/completions", json=body, timeout=300)
        seen[answer.status_code] += 1
        if answer.status_code == 200:
            assert answer.json()["usage"]["completion_tokens"] == 600
        else:
            waits.append(int(answer.headers["retry-after"]))

    threads = [threading.Thread(target=ask) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(seen) <= {200, 429, 503}
    assert seen[200] >= 3
    assert seen[429] + seen[503] >= 10
    assert all(1 <= wait <= 300 for wait in waits)
    ask()
    assert seen[200] >= 4


def test_keys_tls_a_management_port_and_traces_on_the_real_server(start, collector, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    keys = tmp_path / "keys"
    keys.write_text("team-a sesame\n")
    arguments = ["--tls-cert", str(tmp_path / "server.pem"), "--api-key-file", str(keys), "--management-port", "0"]
    arguments += ["--otlp-endpoint", f"http://127.0.0.1:{collector.server_port}"]
    server = start("demo", *arguments, environment={"STOKER_LOG_FORMAT": "json"})
    context = ssl.create_default_context()
    authority.configure_trust(context)
    url = server.url.replace("http", "https")

    def is_ready() -> bool:
        try:
            return httpx.get(f"{url}/v1/health/ready", verify=context).status_code == 200
        except httpx.TransportError:
            return False

    server.wait_until(is_ready, "ready")
    trusting = openai.DefaultHttpxClient(verify=context)
    with openai.OpenAI(base_url=f"{url}/v1", api_key="sesame", http_client=trusting) as client:
        traced = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        answer = client.completions.create(model="demo", prompt="One", max_tokens=3, extra_headers=traced)
        assert answer.usage is not None
        assert answer.usage.completion_tokens <= 3
    assert httpx.get(f"{url}/v1/models", verify=context, headers={"x-api-key": "wrong"}).status_code == 401
    assert httpx.get(f"{url}/metrics", verify=context, headers={"x-api-key": "sesame"}).status_code == 404
    assert "sesame" not in server.output
    assert '"queue_seconds"' in server.output
    server.stop()
    _check_trace(collector)


def _check_trace(collector: Collector) -> None:
    """From the client to within the engine."""
    (whole,) = [span for span in collector.spans if span.trace_id.hex() == TRACE and span.name.startswith("POST")]
    (engine,) = [span for span in collector.below(whole) if span.name == "engine"]
    phases = collector.below(engine)
    assert [span.name for span in phases] == ["engine queue", "prefill", "decode"]
    assert all(span.start_time_unix_nano < span.end_time_unix_nano for span in phases)
    assert phases[-1].end_time_unix_nano <= engine.end_time_unix_nano


def test_the_plan_and_the_status_are_told(demo) -> None:
    for path, name in (("/v1/plan", "reasons"), ("/v1/status", "kv_blocks"), ("/v1/metadata", "modelInfo")):
        with urllib.request.urlopen(demo.url + path, timeout=10) as answer:
            assert json.load(answer)[name]
