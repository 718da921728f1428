"""Guessed tokens: greedy text stays what it is without, and what vLLM passes over beside guesses is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.vllm.conftest import direct_settings, eager_engine
from tests.vllm.mtp_model import write_mtp_model

from stoker.kinds.vllm.runtime.alone import HostRuntime
from stoker.kinds.vllm.runtime.process import DRAFT
from stoker.launch.generation import Generation
from stoker.resolve.local import DEMO_DIRECTORY, DEMO_DRAFT_DIRECTORY, DEMO_HEAD_DIRECTORY

TEXT = (1, *range(300, 330), *range(300, 320))  # its end stands in it already
PROMPTS = (TEXT, *((1, *range(start, start + 24), *range(start, start + 8)) for start in range(100, 1600, 250)))


def answers(directory: Path, run: Path, **changes: str) -> tuple[list[list[int]], int, str]:
    """Of all prompts at once; how many steps gave tokens; and what becomes of a request with min_p."""
    run.mkdir()
    runtime = HostRuntime(direct_settings(directory, run, **changes))
    try:
        running = [runtime.add(Generation(str(n), ids, 48)) for n, ids in enumerate(PROMPTS)]
        found: list[list[int]] = [[] for _ in running]
        steps = finish(runtime, running, found)
        picky = runtime.add(Generation("p", TEXT, 2, temperature=0.5, min_p=0.1))
        refused = [""]
        while not (output := picky.read()).over:
            runtime.step()
        refused[0] = output.refused
        return found, steps, refused[0]
    finally:
        runtime.close()


def finish(runtime, running, found) -> int:
    steps, left = 0, dict(enumerate(running))
    while left:
        runtime.step()
        for number, sequence in list(left.items()):
            output = sequence.read()
            steps += bool(output.ids)
            found[number] += output.ids
            if output.over:
                del left[number]
    return steps


def engine_with(folder: Path, guesser: Path) -> Path:
    directory = eager_engine(folder / "engine", DEMO_DIRECTORY)
    (directory / DRAFT).symlink_to(guesser)
    return directory


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> list[list[int]]:
    folder = tmp_path_factory.mktemp("plain")
    return answers(engine_with(folder, DEMO_DRAFT_DIRECTORY), folder / "run")[0]


@pytest.mark.parametrize(
    ("guesser", "changes"),
    [
        (DEMO_DRAFT_DIRECTORY, {"speculative": "lookup"}),
        (DEMO_DRAFT_DIRECTORY, {"speculative": "draft", "draft": "demo-draft@1"}),
        (DEMO_HEAD_DIRECTORY, {"speculative": "eagle3", "draft": "demo-eagle3@1"}),
    ],
)
def test_greedy_text_is_what_it_is_without(plain, tmp_path, guesser, changes):
    found, steps, refused = answers(engine_with(tmp_path, guesser), tmp_path / "run", **changes)
    assert found == plain
    assert steps < sum(map(len, plain))
    assert "min_p is not available" in refused


@pytest.mark.skipif(not os.environ.get("SOAK"), reason="SOAK=1 make test-vllm: it starts vLLM twice more")
def test_a_checkpoint_s_own_layer_guesses(tmp_path):
    """It was trained for nothing: hardly a guess is kept."""
    engine = eager_engine(tmp_path / "engine", write_mtp_model(tmp_path / "model"))
    plain, _, _ = answers(engine, tmp_path / "plain")
    found, steps, refused = answers(engine, tmp_path / "mtp", speculative="mtp")
    assert found == plain
    assert steps <= sum(map(len, plain))
    assert "min_p is not available" in refused
