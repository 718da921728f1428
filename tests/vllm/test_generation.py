"""What a client gets, through Triton and the multiplexed stream."""

from __future__ import annotations

import asyncio
import json
from array import array
from contextlib import aclosing

import pytest

from stoker.launch.generation import EBNF_GRAMMAR, Generation, Guide, RequestRefusedError

PROMPT = (5, 300, 17, 640, 23)


def test_greedy_tokens_are_the_same_alone_and_among_others(loop, served, harness):
    async def run():
        single = await harness.tokens(served.client, Generation("s", PROMPT, 24))
        many = [harness.tokens(served.client, Generation(f"m{n}", PROMPT, 24)) for n in range(16)]
        return single, await asyncio.gather(*many)

    single, many = loop.run(run())
    assert len(single) == 24
    assert many == [single] * 16


def test_tokens_come_one_by_one_and_the_end_token_is_the_last(loop, served, harness):
    async def run():
        whole = await harness.tokens(served.client, Generation("w", PROMPT, 12))
        deltas = await harness.collect(served.client, Generation("e", PROMPT, 12, end_ids=(whole[5],)))
        return whole, [list(delta.ids) for delta in deltas if delta.ids]

    whole, pieces = loop.run(run())
    ended = whole[: whole.index(whole[5]) + 1]
    assert pieces == [[token] for token in ended]


def test_a_seed_gives_the_same_tokens_and_another_gives_others(loop, served, harness):
    async def run():
        sampled = [Generation(f"s{seed}", PROMPT, 16, temperature=1.5, seed=seed) for seed in (7, 7, 2**64 - 1)]
        return await asyncio.gather(*(harness.tokens(served.client, each) for each in sampled))

    first, again, other = loop.run(run())
    assert first == again != other


def test_log_probs_are_those_of_the_tokens(loop, served, harness):
    async def run():
        told = await harness.collect(served.client, Generation("l", PROMPT, 8, log_probs=True))
        return [value for delta in told if delta.ids for value in delta.log_probs]

    values = loop.run(run())
    assert len(values) == 8
    assert all(-20 < value <= 0 for value in values)


def test_a_bias_forces_a_token(loop, served, harness):
    bias = array("f", [0.0] * 2048)
    bias[123] = 100.0
    assert loop.run(harness.tokens(served.client, Generation("b", PROMPT, 4, embedding_bias=bias))) == [123] * 4


def test_min_tokens_keep_the_end_away(loop, served, harness):
    async def run():
        whole = await harness.tokens(served.client, Generation("w", PROMPT, 12))
        kept = await harness.tokens(served.client, Generation("k", PROMPT, 12, end_ids=(whole[0],), min_tokens=6))
        return whole[0], kept

    end, kept = loop.run(run())
    assert end not in kept[:6]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("json_schema", json.dumps({"enum": ["x"]})),
        ("regex", "[ab]{3}"),
        ("choice", json.dumps(["yes", "no"])),
        (EBNF_GRAMMAR, 'root ::= "yes" | "no"'),
    ],
)
def test_a_guide_is_kept_to(loop, served, harness, kind, text):
    generation = Generation("g", PROMPT, 200, end_ids=(2, 6), guide=Guide(kind, text))
    written = decoded(loop.run(harness.tokens(served.client, generation)))
    assert {
        "json_schema": lambda: json.loads(written) == "x",
        "regex": lambda: len(written) == 3 and set(written) <= set("ab"),
    }.get(kind, lambda: written in ("yes", "no"))()


def decoded(ids: list[int]) -> str:
    from tokenizers import Tokenizer

    from stoker.resolve.local import DEMO_DIRECTORY

    return Tokenizer.from_file(str(DEMO_DIRECTORY / "tokenizer.json")).decode(ids).strip()


@pytest.mark.parametrize(
    "guide",
    [
        Guide(EBNF_GRAMMAR, "root ::= nothing"),
        Guide(EBNF_GRAMMAR, 'root ::= "'),
        Guide("json_schema", '{"type": "no such type"}'),
        Guide("json_schema", "{"),
        Guide("regex", "("),
        Guide("regex", "(?=x)y"),
        Guide("choice", "[]"),
        Guide("choice", "yes"),
        Guide("nonsense", ""),
        Guide("structural_tag", "{}"),
    ],
)
def test_a_poisoned_guide_is_refused_and_harms_nobody(loop, served, harness, guide):
    async def run():
        async with aclosing(served.client.generate(Generation("good", PROMPT, 60))) as stream:
            await stream.__anext__()
            with pytest.raises(RequestRefusedError):
                await harness.tokens(served.client, Generation("bad", PROMPT, 8, guide=guide))
            return [token async for delta in stream for token in delta.ids]

    before = served.restarts
    assert len(loop.run(run())) == 59
    assert served.restarts == before


@pytest.mark.parametrize(
    "changes",
    [{"temperature": -1.0}, {"top_p": 1.5}, {"min_p": 2.0}, {"input_ids": range(3, 600)}, {"input_ids": (5000,)}],
)
def test_what_vllm_refuses_is_the_requests_fault_alone(loop, served, harness, changes):
    generation = Generation(**{"request_id": "bad", "input_ids": PROMPT, "max_tokens": 4, **changes})
    with pytest.raises(RequestRefusedError):
        loop.run(harness.tokens(served.client, generation))
    assert len(loop.run(harness.tokens(served.client, Generation("good", PROMPT, 4)))) == 4


def test_the_prefix_cache_tells_its_reuse(loop, served, harness):
    prompt = [7 + n % 1000 for n in range(300)]

    async def run():
        told = []
        for number in range(2):
            generation = Generation(f"p{number}", prompt, 2, perf_metrics=True)
            told.append((await harness.collect(served.client, generation))[-1].perf_metrics)
        return told

    cold, warm = loop.run(run())
    assert cold.reused_blocks == 0 < warm.reused_blocks
    assert min(warm.queue, warm.prefill, warm.decode) >= 0


def test_a_closed_stream_is_out_of_the_engine(loop, served, harness):
    async def run():
        async with aclosing(served.client.generate(Generation("left", PROMPT, 400))) as stream:
            await stream.__anext__()
        await harness.until(lambda: idle(served))

    loop.run(run())


async def idle(supervisor) -> bool:
    return (await supervisor.client.state()).running == 0


def test_more_requests_than_slots_wait_and_all_are_answered(loop, served, harness):
    async def run():
        asked = [harness.tokens(served.client, Generation(f"r{n}", (3 + n, 9), 8)) for n in range(40)]
        return await asyncio.gather(*asked)

    assert {len(answer) for answer in loop.run(run())} == {8}


def test_the_most_probable_tokens_are_told_beside_each(loop, served, harness):
    generation = Generation("top", PROMPT, 6, log_probs=True, top_log_probs=5)
    deltas = [delta for delta in loop.run(harness.collect(served.client, generation)) if delta.ids]
    for delta in deltas:
        ((token,), (value,), (top,)) = delta.ids, delta.log_probs, delta.top
        assert len(top) == 5
        assert top[0] == (token, value), "greedy"
        assert [each for _, each in top] == sorted((each for _, each in top), reverse=True)
    assert len(deltas) == 6


def test_a_prompt_is_scored(loop, served, harness):
    """Twice the same: what the prefix cache holds is scored all the same."""

    async def run():
        asked = Generation("s", PROMPT * 8, 2, log_probs=True, top_log_probs=3, prompt_log_probs=2)
        return [await harness.collect(served.client, asked) for _ in range(2)]

    first, again = ([delta.prompt for delta in deltas if delta.prompt is not None] for deltas in loop.run(run()))
    [scores], [same] = first, again
    assert (len(scores), scores.width) == (len(PROMPT * 8) - 1, 3)
    assert list(scores.ids[:: scores.width]) == list(PROMPT * 8)[1:]
    for place, rank in enumerate(scores.ranks):
        (best, most), (_, less) = scores.top(place, 2)
        assert scores.own(place) <= most <= 0
        assert (rank == 1) == (best == (PROMPT * 8)[place + 1])
        assert less <= most
    assert list(same.log_probs) == pytest.approx(list(scores.log_probs), abs=1e-3)


def test_a_prompt_may_be_scored_and_nothing_generated(loop, served, harness):
    async def run():
        scored = await harness.collect(served.client, Generation("s", PROMPT, 0, log_probs=True, prompt_log_probs=0))
        short = await harness.collect(served.client, Generation("o", PROMPT[:1], 1, log_probs=True, prompt_log_probs=0))
        return scored, short

    scored, short = loop.run(run())
    assert [id_ for delta in scored for id_ in delta.ids] == []
    assert sum(len(delta.prompt) for delta in scored if delta.prompt is not None) == len(PROMPT) - 1
    assert sum(len(delta.ids) for delta in short) == 1
