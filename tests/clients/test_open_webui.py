"""What Open WebUI asks of a connection, as its routers and utils/payload.py make it; the application itself is not run.

It is no dependency for its size: it brings vector databases and speech along.
"""

from __future__ import annotations

import json

import pytest

TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Who are you?"}]},
    {"role": "assistant", "content": '<details type="reasoning" done="true">\n> Hm.\n</details>\nA model.'},
    {"role": "user", "content": "Weather?"},
]
USER = {"X-OpenWebUI-User-Name": "A", "X-OpenWebUI-User-Id": "b", "X-OpenWebUI-Chat-Id": "c"}
ADVANCED = {
    "temperature": 0.8,
    "top_p": 0.9,
    "min_p": 0.0,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.1,
    "seed": 1,
    "stop": ["###"],
    "max_tokens": 40,
    "reasoning_effort": "low",
    "num_ctx": 8192,
    "repeat_penalty": 1.1,
}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells it",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "Which"}}},
    },
}


@pytest.fixture
def client(url: str):
    import httpx

    headers = {"Authorization": "Bearer none", **USER}
    with httpx.Client(base_url=url, headers=headers, timeout=None) as one:
        yield one


def streamed(answer) -> str:
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert chunks[-1]["usage"]["completion_tokens"] > 0
    return "".join(each["choices"][0]["delta"].get("content") or "" for each in chunks if each["choices"])


def test_a_connection_is_verified_by_its_models(client) -> None:
    (model,) = client.get("/v1/models").json()["data"]
    assert model["id"] == "demo"


@pytest.mark.parametrize("more", [{}, ADVANCED, {"tools": [TOOL], "max_tokens": 40}])
def test_a_chat_is_streamed(client, more: dict) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    body = {"model": "demo", "messages": TURNS, "max_tokens": 60, **options, **more}
    assert streamed(client.post("/v1/chat/completions", json=body))


def test_titles_are_asked_for_whole(client) -> None:
    words = [{"role": "user", "content": "### Task:\nGenerate a concise title.\n### Output:\nJSON format"}]
    body = {"model": "demo", "messages": words, "stream": False, "max_tokens": 100}
    assert client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]


def test_a_connection_of_the_type_responses(client) -> None:
    said = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Who are you?"}]}]
    function = {"type": "function", **TOOL["function"]}
    body = {"model": "demo", "stream": True, "input": said, "instructions": "Be brief.", "tools": [function]}
    answer = client.post("/v1/responses", json={**body, "max_output_tokens": 200, "temperature": 0})
    assert "event: response.completed" in answer.text


def test_a_connection_to_ollama(client) -> None:
    assert client.get("/api/version").json()["version"]
    (model,) = client.get("/api/tags").json()["models"]
    assert client.get("/api/ps").json()["models"]
    assert client.post("/api/show", json={"name": model["model"]}).json()["details"]
    options = {"temperature": 0.8, "num_ctx": 8192, "num_predict": 40, "mirostat": 0, "tfs_z": 1.0, "use_mmap": True}
    body = {"model": model["model"], "messages": TURNS[2:], "stream": True, "options": options, "keep_alive": "5m"}
    lines = [json.loads(line) for line in client.post("/api/chat", json=body).text.splitlines()]
    assert lines[-1]["done"]
    assert "".join(line["message"]["content"] for line in lines)
