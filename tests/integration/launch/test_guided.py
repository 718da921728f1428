"""Grammars through real Triton: texts keep to them, and a broken one harms nobody."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from stoker.kinds.openvino.runtime.engine import python_engine
from stoker.launch.generation import EBNF_GRAMMAR, Generation, Guide, RequestRefusedError
from stoker.launch.supervisor import Patience, Supervisor

END = 255
PROMPT = (5, 17, 99, 3)
NESTED = 'root ::= "[" item (", " item){2} "]"\nitem ::= "\\"" [a-z\\u00e9]{1,9} "\\"" | [1-9] [0-9]{0,3} | "null"\n'
BROKEN = ['root ::= "a" [z-a]', "root ::= nowhere", 'root ::= "unclosed', "", "root ::= (" + "(" * 200]


@pytest.fixture(scope="module")
def tokenizer(tiny_engine: Path, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A token for each byte but the last, and an end."""
    pieces = sorted(pre_tokenizers.ByteLevel.alphabet())[:END]
    made = Tokenizer(models.BPE({piece: index for index, piece in enumerate(pieces)}, []))
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<end>"])
    return made


@pytest.fixture(scope="module")
def guided(loop, settings_of, tiny_engine, tokenizer, tmp_path_factory):
    """The tiny engine with a tokenizer beside it."""
    directory = tmp_path_factory.mktemp("guided")
    shutil.copytree(tiny_engine, directory, dirs_exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "config.json").write_text(json.dumps({"vocab_size": 256}))
    supervisor = Supervisor(python_engine(settings_of(directory)), Patience(heartbeat=3600, fresh=3600, wedged=7200))
    try:
        loop.run(supervisor.start())
        yield supervisor
    finally:
        loop.run(supervisor.stop())


def _asked(name: str, grammar: str | None, seed: int = 0, max_tokens: int = 120) -> Generation:
    guide = None if grammar is None else Guide(EBNF_GRAMMAR, grammar)
    return Generation(name, PROMPT, max_tokens, (END,), temperature=1.0, seed=seed, guide=guide)


def test_whatever_the_model_would_say_the_text_keeps_to_the_grammar(loop, guided, harness, tokenizer):
    for seed in range(10):
        ids = loop.run(harness.tokens(guided.client, _asked("nested", NESTED, seed)))
        assert ids[-1] == END
        items = json.loads(tokenizer.decode(ids))
        assert len(items) == 3
        assert all(item is None or isinstance(item, (str, int)) for item in items)


def test_broken_grammars_are_refused_and_harm_nobody(loop, guided, harness, tokenizer):
    async def mixed() -> list[object]:
        asked = [_asked(f"b{n}", grammar) for n, grammar in enumerate(BROKEN)]
        asked += [_asked(f"g{n}", NESTED, n) for n in range(6)] + [_asked(f"f{n}", None, n) for n in range(6)]
        return await asyncio.gather(*(harness.tokens(guided.client, each) for each in asked), return_exceptions=True)

    alone = [loop.run(harness.tokens(guided.client, _asked("alone", None, n))) for n in range(6)]
    outcomes = loop.run(mixed())
    assert all(isinstance(outcome, RequestRefusedError) for outcome in outcomes[: len(BROKEN)])
    assert all(json.loads(tokenizer.decode(ids)) for ids in outcomes[len(BROKEN) : -6])
    assert outcomes[-6:] == alone
    assert guided.restarts == 0


def test_one_that_gives_up_while_its_grammar_is_compiled_leaves_nothing(loop, guided, harness):
    slow = 'root ::= ([a-z]{1,20} [ ,]){1,40} "x"\n'

    async def gives_up() -> None:
        task = asyncio.create_task(harness.tokens(guided.client, _asked("leaves", slow)))
        await asyncio.sleep(0.005)
        task.cancel()

    loop.run(gives_up())
    assert loop.run(harness.tokens(guided.client, _asked("next", NESTED)))[-1] == END
    assert loop.run(guided.client.state()).running == 0


def test_a_type_that_is_not_taken_is_refused(loop, guided, harness):
    asked = Generation("json", PROMPT, 5, (END,), guide=Guide("json_schema", "{}"))
    with pytest.raises(RequestRefusedError, match="json_schema"):
        loop.run(harness.tokens(guided.client, asked))


def test_an_engine_without_a_tokenizer_says_so(loop, supervisor, harness):
    with pytest.raises(RequestRefusedError, match="tokenizer"):
        loop.run(harness.tokens(supervisor.client, _asked("none", NESTED)))
