"""What comes through real Triton is what the engine gives by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from stoker.kinds.openvino.runtime.paged import PagedRuntime
from stoker.launch.generation import Generation, RequestRefusedError

PROMPT = (5, 17, 99, 3)


@pytest.fixture(scope="module")
def direct(settings_of, tiny_engine):
    """The same engine in this process: a generation's ids and log probabilities."""
    runtime = PagedRuntime(settings_of(tiny_engine))

    def generate(generation: Generation) -> tuple[list[int], list[float]]:
        sequence = runtime.add(generation)
        ids: list[int] = []
        log_probs: list[float] = []
        ended = False
        while not ended:
            runtime.step()
            output = sequence.read()
            ids += output.ids
            log_probs += output.log_probs
            ended = output.ended
        return ids, log_probs

    yield generate
    runtime.close()


def test_greedy_tokens_are_the_engines_own(loop, supervisor, harness, direct):
    for length in (1, 4, 40, 150):
        prompt = [(7 * length + index) % 200 for index in range(length)]
        generation = Generation("greedy", prompt, max_tokens=40)
        assert loop.run(harness.tokens(supervisor.client, generation)) == direct(generation)[0]


def test_many_streams_at_once_get_what_each_gets_alone(loop, supervisor, harness, direct):
    generations = [Generation(f"{n}", [n, n + 1, n + 2], max_tokens=20 + n) for n in range(24)]

    async def together():
        return await asyncio.gather(*(harness.tokens(supervisor.client, each) for each in generations))

    assert loop.run(together()) == [direct(each)[0] for each in generations]


def test_a_lone_stream_gets_every_token_by_itself(loop, supervisor, harness):
    deltas = loop.run(harness.collect(supervisor.client, Generation("alone", PROMPT, max_tokens=9)))
    assert [len(delta.ids) for delta in deltas] == [1] * 9


def test_an_end_id_is_the_last_one_given(loop, supervisor, harness, direct):
    free, _ = direct(Generation("free", PROMPT, max_tokens=12))
    end = free[6]
    ended = loop.run(harness.tokens(supervisor.client, Generation("ended", PROMPT, 12, end_ids=(254, end))))
    assert ended == free[: free.index(end) + 1]


def test_min_tokens_holds_the_end_back(loop, supervisor, harness, direct):
    end = direct(Generation("free", PROMPT, max_tokens=4))[0][0]
    held = Generation("held", PROMPT, 12, end_ids=(end,), min_tokens=5)
    assert len(loop.run(harness.tokens(supervisor.client, held))) >= 5


def test_a_seed_repeats_a_random_draw_and_no_seed_does_not(loop, supervisor, harness):
    def draw(seed):
        generation = Generation("draw", PROMPT, 30, temperature=3.0, seed=seed)
        return loop.run(harness.tokens(supervisor.client, generation))

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)
    assert draw(None) != draw(None)


def test_a_seeded_draw_does_not_depend_on_its_neighbours(loop, supervisor, harness):
    generation = Generation("draw", PROMPT, 30, temperature=3.0, seed=11)
    neighbours = [Generation(f"{n}", [n], 30, temperature=3.0) for n in range(6)]

    async def among_others():
        results = await asyncio.gather(*(harness.tokens(supervisor.client, each) for each in (generation, *neighbours)))
        return results[0]

    assert loop.run(among_others()) == loop.run(harness.tokens(supervisor.client, generation))


def test_log_probs_run_parallel_to_the_tokens(loop, supervisor, harness, direct):
    generation = Generation("probs", PROMPT, 10, log_probs=True)
    deltas = loop.run(harness.collect(supervisor.client, generation))
    ids, log_probs = direct(generation)
    assert [token for delta in deltas for token in delta.ids] == ids
    assert [value for delta in deltas for value in delta.log_probs] == pytest.approx(log_probs, abs=1e-5)
    assert all(value <= 0 for value in log_probs)


def test_without_asking_there_are_no_log_probs(loop, supervisor, harness):
    deltas = loop.run(harness.collect(supervisor.client, Generation("plain", PROMPT, 2)))
    assert [delta.log_probs for delta in deltas] == [None, None]


def test_a_bad_request_is_refused_alone(loop, supervisor, harness, direct):
    good = Generation("good", PROMPT, max_tokens=60)
    bad = Generation("bad", PROMPT, max_tokens=60, temperature=1.0, top_p=7.0)

    async def both():
        return await asyncio.gather(
            harness.tokens(supervisor.client, good), harness.tokens(supervisor.client, bad), return_exceptions=True
        )

    tokens, refusal = loop.run(both())
    assert tokens == direct(good)[0]
    assert isinstance(refusal, RequestRefusedError)
    assert "top_p" in str(refusal)


def test_a_prompt_longer_than_the_cache_is_refused(loop, supervisor, harness):
    with pytest.raises(RequestRefusedError, match="too long"):
        loop.run(harness.tokens(supervisor.client, Generation("long", [1] * 5000, max_tokens=5)))


def test_no_room_for_more_ends_a_sequence_early(loop, settings_of, tiny_engine):
    runtime = PagedRuntime(settings_of(tiny_engine, kv_blocks=3))
    sequence = runtime.add(Generation("big", [1] * 20, max_tokens=500))
    produced, ended, out_of_memory = 0, False, False
    while not ended:
        runtime.step()
        output = sequence.read()
        produced, ended, out_of_memory = produced + len(output.ids), output.ended, output.out_of_memory
    runtime.close()
    assert out_of_memory
    assert 20 + produced == 3 * 32 + 1


def test_an_idle_engine_takes_no_steps_and_no_processor_time(loop, supervisor):
    stub = supervisor.stub_pid

    async def ticks_over_a_second():
        before = _ticks(stub)
        await asyncio.sleep(1)
        return _ticks(stub) - before

    assert loop.run(ticks_over_a_second()) < 10  # of 100


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
