"""The direct API over a real engine."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from stoker import Runner
from stoker.direct.messages import add_message
from stoker.direct.runner import Prompt
from stoker.errors import EngineError, UsageError
from stoker.launch.generation import Generation
from stoker.resolve.local import DEMO_DIRECTORY

DOCS = Path(__file__).parents[3] / "docs" / "direct.md"
QUESTION = [{"role": "user", "content": "Who are you?"}]


def test_the_documented_example_runs(engine_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = DOCS.read_text().split("```python\n")[1].split("```")[0]
    exec(source, {"engine_dir": engine_dir})
    assert len(capsys.readouterr().out.splitlines()) > 2


def test_a_batch_gives_what_each_prompt_gives_alone(runner: Runner) -> None:
    prompts: list[Prompt] = ["Who are", "The sun", QUESTION]
    together = runner.generate(prompts, max_new_tokens=12)
    assert together == [runner.generate([prompt], max_new_tokens=12)[0] for prompt in prompts]
    assert all(completion.ids and completion.text for completion in together)


def test_pieces_join_to_the_completion_and_come_one_by_one(runner: Runner) -> None:
    pieces = list(runner.stream([QUESTION], 64))
    whole = runner.generate([QUESTION], 64)[0]
    assert "".join(piece.text for piece in pieces) == whole.text
    assert len(pieces) > 3
    assert [piece.finish for piece in pieces][-2:] == ["", "stop"]


def test_length_and_stop_strings_end_an_answer(runner: Runner) -> None:
    assert runner.generate([QUESTION], 3)[0].finish == "length"
    assert len(runner.generate([QUESTION], 3)[0].ids) == 3
    whole = runner.generate([QUESTION], 64)[0].text
    word = whole.split()[2]
    stopped = runner.generate([QUESTION], 64, stop=(word,))[0]
    assert (stopped.text, stopped.finish) == (whole.split(word)[0], "stop")


def test_giving_up_a_stream_leaves_the_runner_well(runner: Runner) -> None:
    stream = runner.stream([QUESTION, QUESTION], 64)
    next(stream)
    stream.close()
    assert runner.generate([QUESTION], 64)[0].finish == "stop"


def test_token_ids_are_a_prompt_and_seeds_repeat(runner: Runner) -> None:
    first, second = (runner.generate([[5, 6, 7]], 8, temperature=1.0, seed=4) for _ in range(2))
    assert first == second


def test_prompts_that_cannot_be_are_refused(runner: Runner) -> None:
    with pytest.raises(UsageError, match="prompt 1 is empty or too long"):
        runner.generate([[]])
    with pytest.raises(UsageError, match="prompt 2 is empty or too long"):
        runner.generate(["fine", [5] * 100_000])


def test_a_directory_that_is_no_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not an engine"):
        Runner.from_dir(tmp_path)


def test_an_engine_that_cannot_be_opened_says_why(engine_dir: Path, tmp_path: Path) -> None:
    for file in engine_dir.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    graph = tmp_path / "openvino_model.xml"
    graph.write_bytes(b"<" * graph.stat().st_size)
    with pytest.raises(EngineError, match="the engine failed"):
        Runner.from_dir(tmp_path)


def test_a_dead_child_is_an_error_with_its_cause(engine_dir: Path) -> None:
    with Runner.from_dir(engine_dir) as runner:
        os.kill(runner.pid, signal.SIGKILL)
        with pytest.raises(EngineError, match="process died: signal 9"):
            runner.generate([QUESTION])


def test_an_id_beyond_the_embedding_is_refused_before_the_engine_and_in_it(runner: Runner) -> None:
    beyond = json.loads((DEMO_DIRECTORY / "config.json").read_bytes())["vocab_size"]
    with pytest.raises(UsageError, match=str(beyond)):
        runner.generate([[1, beyond]])
    process = runner._process  # past the check of this process
    process.send(add_message(Generation("beyond", [1, beyond], 1)))
    answer = process.receive()
    assert answer["id"] == "beyond"
    assert str(beyond) in answer["refused"]["what"]
    assert runner.generate([[1, beyond - 1]], max_new_tokens=1)[0].ids
