"""Ollama's client, and LangChain's and LiteLLM's for its API."""

from __future__ import annotations

import pytest

WORDS = [{"role": "user", "content": "Who are you?"}]
SHORT = {"num_predict": 40, "temperature": 0}


@pytest.fixture
def client(url):
    import ollama

    return ollama.Client(host=url)


def test_the_models_are_listed_and_described(client) -> None:
    (model,) = client.list().models
    assert model.model.partition(":")[0] == "demo"
    assert "completion" in client.show(model.model).capabilities
    assert client.ps().models[0].model == model.model


def test_a_conversation_whole_and_streamed_says_the_same(client) -> None:
    whole = client.chat("demo", WORDS, options=SHORT)
    assert whole.message.content
    pieces = list(client.chat("demo", WORDS, options=SHORT, stream=True))
    assert "".join(each.message.content for each in pieces) == whole.message.content
    assert pieces[-1].done
    assert pieces[-1].eval_count == whole.eval_count
    assert client.generate("demo", "Once upon a time", options=SHORT).response


def test_answers_have_the_form_that_is_asked_for(client) -> None:
    from typing import Literal

    from pydantic import BaseModel

    class Trip(BaseModel):
        city: Literal["Rome", "Bonn"]

    answer = client.chat("demo", WORDS, format=Trip.model_json_schema(), options={"num_predict": 100})
    assert Trip.model_validate_json(answer.message.content).city in ("Rome", "Bonn")


def test_a_tools_result_is_read(client) -> None:
    def weather(city: str) -> str:
        """Tells the weather of a city."""
        return f"Sunny in {city}."

    call = {"function": {"name": "weather", "arguments": {"city": "Bonn"}}}
    turns = [*WORDS, {"role": "assistant", "content": "", "tool_calls": [call]}]
    turns += [{"role": "tool", "content": "Sunny.", "tool_name": "weather"}]
    assert client.chat("demo", turns, tools=[weather], options=SHORT).done


@pytest.mark.parametrize("provider", ["ollama", "ollama_chat"])
def test_litellm(url: str, provider: str) -> None:
    import litellm

    asked = {"model": f"{provider}/demo", "api_base": url, "messages": WORDS, "max_tokens": 40, "temperature": 0}
    whole = litellm.completion(**asked).choices[0].message.content
    assert whole
    assert "".join(each.choices[0].delta.content or "" for each in litellm.completion(**asked, stream=True)) == whole


def test_langchain(url: str) -> None:
    from langchain_ollama import ChatOllama

    chat = ChatOllama(model="demo", base_url=url, num_predict=40, temperature=0)
    whole = chat.invoke("Who are you?")
    assert whole.text
    assert "".join(piece.text for piece in chat.stream("Who are you?")) == whole.text
