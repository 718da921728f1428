"""LlamaIndex by its class for servers like OpenAI's."""

from __future__ import annotations

import pytest


@pytest.fixture
def llm(url: str):
    from llama_index.llms.openai_like import OpenAILike

    about = {"is_chat_model": True, "is_function_calling_model": True, "context_window": 32768}
    return OpenAILike(
        model="demo", api_base=f"{url}/v1", api_key="none", max_tokens=60, temperature=0, max_retries=0, **about
    )


def test_answers_come_whole_and_in_pieces(llm) -> None:
    from llama_index.core.llms import ChatMessage

    turns = [ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content="Who are you?")]
    whole = llm.chat(turns).message.content
    assert whole
    assert list(llm.stream_chat(turns))[-1].message.content == whole
    assert llm.complete("Once upon a time").text


def test_a_tool_is_called(llm) -> None:
    from llama_index.core.tools import FunctionTool

    def weather(city: str) -> str:
        """Tells the weather of a city."""
        return f"Sunny in {city}."

    tool = FunctionTool.from_defaults(weather)
    answer = llm.chat_with_tools([tool], user_msg="Weather?", tool_required=True)
    assert llm.get_tool_calls_from_response(answer)[0].tool_name == "weather"
