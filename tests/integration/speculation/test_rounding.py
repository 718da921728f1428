"""Greedy text of engines that round, with and without guesses.

A step of several tokens of a sequence is rounded differently from a step of one: guesses are checked the way that
prompts are read. So an engine without guesses says itself what a guessing engine says, if it is given the text so far
as a prompt; and both may differ only where f32 finds the two tokens about equally likely.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.speculation.test_guesses import CHATS, Engine, built, generations
from tokenizers import Tokenizer

from stoker.kinds.openvino.runtime import paged, properties
from stoker.resolve.local import DEMO_DIRECTORY, DEMO_DRAFT_DIRECTORY

ROUNDED = {"precision": "int8", "activation_precision": "bf16", "kv_precision": "u8", "max_batch_size": 16}
TIE = 0.5  # log probabilities; the largest gap of f32 in 200 texts was 0.18, the median gap is 3.6
Place = tuple[list[int], int, int]  # a text, the next token without guesses, and with


@pytest.fixture(scope="module")
def rounding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("rounding"), "draft", DEMO_DRAFT_DIRECTORY, **ROUNDED)


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("exact"), "draft", DEMO_DRAFT_DIRECTORY)


@pytest.fixture
def keys_by_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """As guessing engines quantise them, for the engine without guesses too."""
    compiled = properties.compile_properties
    monkeypatch.setattr(
        paged, "compile_properties", lambda *given: {**compiled(*given), "KEY_CACHE_QUANT_MODE": "BY_TOKEN"}
    )


def first_differences(asked, without, found) -> list[Place]:
    places = []
    for generation, (before, _), (after, _) in zip(asked, without, found, strict=True):
        equal = next((n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), None)
        if equal is not None:
            places.append(([*generation.input_ids, *before[:equal]], before[equal], after[equal]))
    return places


@pytest.mark.usefixtures("keys_by_token")
def test_what_differs_is_what_the_engine_itself_says_of_the_text_as_a_prompt(rounding, exact):
    tokenizer = Tokenizer.from_file(str(DEMO_DIRECTORY / "tokenizer.json"))
    asked = generations([tokenizer.encode(chat).ids for chat in CHATS], 24)
    plain, guessing = Engine(rounding, "off", **ROUNDED), Engine(rounding, "lookup", **ROUNDED)
    places = first_differences(asked, plain.answers(asked, 16), guessing.answers(asked, 16))
    again = plain.answers(generations([text for text, _, _ in places], 1), 1)
    assert [ids[0] for ids, _ in again] == [token for _, _, token in places]
    reference = Engine(exact, "off")
    for text, without, found in places:
        gap = abs(likelihood(reference, text, without) - likelihood(reference, text, found))
        assert gap < TIE
    for engine in (plain, guessing, reference):
        engine.runtime.close()


def likelihood(engine: Engine, text: list[int], token: int) -> float:
    """The token's log probability after the text."""
    sequence = engine.runtime.add(generations([text], 1, log_probs=True, top_log_probs=16)[0])
    while not (output := sequence.read()).ids:
        engine.runtime.step()
    return dict(output.top[0])[token]
