"""Grammars through real Triton: texts keep to them, and a broken one harms nobody."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from stoker.kinds.openvino.runtime.engine import python_engine
from stoker.launch.client import TritonClient
from stoker.launch.generation import EBNF_GRAMMAR, Generation, Guide, RequestRefusedError
from stoker.launch.settings import EngineSettings
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
def engine(tiny_engine, tokenizer, tmp_path_factory) -> Path:
    """The tiny engine with a tokenizer beside it."""
    directory = tmp_path_factory.mktemp("guided")
    shutil.copytree(tiny_engine, directory, dirs_exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "config.json").write_text(json.dumps({"vocab_size": 256}))
    return directory


@pytest.fixture(scope="module")
def guided(loop, settings_of, engine):
    with running(loop, settings_of(engine)) as supervisor:
        yield supervisor


@pytest.fixture(scope="module")
def slow(loop, settings_of, engine):
    """Its steps are as slow as a large model's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        with running(loop, settings_of(engine, runtime="slow_runtime:SlowRuntime", max_seq_len=480)) as supervisor:
            yield supervisor


@contextmanager
def running(loop, settings: EngineSettings) -> Iterator[Supervisor]:
    supervisor = Supervisor(python_engine(settings), Patience(heartbeat=3600, fresh=3600, wedged=7200))
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


@pytest.mark.parametrize("contract", ["multiplexed", "alone"])
def test_those_that_give_up_while_their_grammars_are_compiled_leave_nothing(loop, slow, harness, contract):
    """At moments from before they are sent until they run. Any of them that stayed would give all its tokens."""
    length = 400
    long = 'root ::= ([a-z]{{4,20}} [ ,]){{80}} "{}"\n'

    async def give_up() -> int:
        client = harness.alone(slow) if contract == "alone" else slow.client
        before = (await client.state()).tokens
        asked = [_asked(f"{n}", long.format(n) if n % 4 else None, n, length) for n in range(16)]
        tasks = [asyncio.create_task(harness.tokens(client, each)) for each in asked]
        for task in tasks:
            await asyncio.sleep(0.003)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (await harness.tokens(client, _asked("next", NESTED)))[-1] == END
        await harness.until(lambda: idle(client))
        if client is not slow.client:
            await client.detach("done")
        return (await slow.client.state()).tokens - before

    assert loop.run(give_up()) < length


async def idle(client: TritonClient) -> bool:
    state = await client.state()
    return (state.running, state.waiting) == (0, 0)


def test_a_type_that_is_not_taken_is_refused(loop, guided, harness):
    asked = Generation("json", PROMPT, 5, (END,), guide=Guide("json_schema", "{}"))
    with pytest.raises(RequestRefusedError, match="json_schema"):
        loop.run(harness.tokens(guided.client, asked))


def test_an_engine_without_a_tokenizer_says_so(loop, supervisor, harness):
    with pytest.raises(RequestRefusedError, match="tokenizer"):
        loop.run(harness.tokens(supervisor.client, _asked("none", NESTED)))
