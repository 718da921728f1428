"""LangChain's models: OpenAI's, Anthropic's and NVIDIA's."""

from __future__ import annotations

import pytest

WORDS = [("system", "Be brief."), ("human", "Who are you?")]


def weather(city: str) -> str:
    """Tells the weather of a city."""
    return f"Sunny in {city}."


def model(name: str, url: str):
    if name == "openai":
        from langchain_openai import ChatOpenAI

        return ChatOpenAI(
            model="demo", base_url=f"{url}/v1", api_key="none", max_tokens=60, temperature=0, max_retries=0
        )
    if name == "anthropic":
        from langchain_anthropic import ChatAnthropic

        return ChatAnthropic(model="demo", base_url=url, api_key="none", max_tokens=60, max_retries=0)
    from langchain_nvidia_ai_endpoints import ChatNVIDIA

    return ChatNVIDIA(model="demo", base_url=f"{url}/v1", max_tokens=60, temperature=0)


@pytest.mark.parametrize("name", ["openai", "anthropic", "nvidia"])
def test_answers_come_whole_and_in_pieces(url: str, name: str) -> None:
    chat = model(name, url)
    answer = chat.invoke(WORDS)
    assert answer.text
    assert answer.usage_metadata["output_tokens"] > 0
    assert "".join(piece.text for piece in chat.stream(WORDS))


@pytest.mark.parametrize("name", ["openai", "anthropic", "nvidia"])
def test_an_agents_loop(url: str, name: str) -> None:
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool

    tools = [tool(weather)]
    demanded = model(name, url).bind_tools(tools, tool_choice="weather" if name == "anthropic" else "required")
    called = demanded.invoke([HumanMessage("Weather?")])
    call = called.tool_calls[0] if called.tool_calls else called.invalid_tool_calls[0]
    assert call["name"] == "weather"
    turns = [HumanMessage("Weather?"), called, ToolMessage("Sunny.", tool_call_id=call["id"])]
    assert model(name, url).bind_tools(tools).invoke(turns).response_metadata


def test_answers_have_the_form_that_is_asked_for(url: str) -> None:
    from typing import Literal

    from pydantic import BaseModel

    class Trip(BaseModel):
        city: Literal["Rome", "Bonn"]

    for method in ("json_schema", "function_calling"):
        assert model("openai", url).with_structured_output(Trip, method=method).invoke("Where?").city in (
            "Rome",
            "Bonn",
        )
