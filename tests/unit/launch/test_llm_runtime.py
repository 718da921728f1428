"""TensorRT-LLM's LLM as a runtime of the engine loop, over the stand-in for its package: what goes wrong, and ends."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.errors import EngineError
from stoker.kinds.tensorrt_llm_pytorch.build.arguments import llm_arguments
from stoker.kinds.tensorrt_llm_pytorch.files import ARGUMENTS, CHECKPOINT
from stoker.kinds.tensorrt_llm_pytorch.runtime.engine import RUNTIME
from stoker.kinds.tensorrt_llm_pytorch.runtime.runtime import LlmRuntime
from stoker.launch.generation import Generation, Guide, RequestRefusedError
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.runtime import Output
from stoker.plan.types import Chosen, KvPool

FAKE = Path(__file__).parents[2] / "fake_tensorrt_llm"
PROMPT = (7, 8, 9)
CHOSEN = Chosen("p", "tensorrt_llm_pytorch", "text", "bf16", "bf16", "bf16", 1, 1, (0,), 4, 64, 128, 1)


def expected(count: int) -> list[int]:
    return [(sum(PROMPT) + 31 * position) % 200 + 5 for position in range(count)]


@pytest.fixture
def runtime(tmp_path, monkeypatch) -> Iterator[LlmRuntime]:
    monkeypatch.syspath_prepend(str(FAKE))
    checkpoint = tmp_path / CHECKPOINT
    checkpoint.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (checkpoint / name).write_text("{}")
    (tmp_path / ARGUMENTS).write_text(json.dumps(llm_arguments(CHOSEN)))
    opened = LlmRuntime(EngineSettings(RUNTIME, str(tmp_path), CHOSEN, KvPool(16, 32, 1)))
    yield opened
    opened.close()
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorrt_llm"]:
        del sys.modules[name]


def finished(runtime: LlmRuntime, generation: Generation) -> Output:
    """All that a sequence gives, in one."""
    sequence = runtime.add(generation)
    ids: list[int] = []
    log_probs: list[float] = []
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        runtime.step()
        output = sequence.read()
        ids += output.ids
        log_probs += output.log_probs
        if output.ended:
            return Output(ids, log_probs, True, refused=output.refused)
    raise AssertionError("it does not end")


def test_a_sequence_ends_at_its_limit_with_its_log_probabilities(runtime):
    output = finished(runtime, Generation("one", PROMPT, 5, log_probs=True))
    assert (output.ids, output.log_probs) == (expected(5), [-0.5] * 5)


@pytest.mark.parametrize("ends", [(3,), (1, 3), (2, 1, 3)])
def test_an_end_is_the_last_id(runtime, ends):
    """The first end is TensorRT-LLM's end_id, the others are stop tokens."""
    wanted = tuple(expected(9)[end] for end in ends)
    output = finished(runtime, Generation("two", PROMPT, 9, end_ids=wanted))
    assert output.ids == expected(min(ends) + 1)


def test_an_end_that_the_llm_leaves_out_is_put_back(runtime, monkeypatch):
    real = runtime._module.SamplingParams
    monkeypatch.setattr(
        runtime._module, "SamplingParams", lambda **given: real(**{**given, "include_stop_str_in_output": False})
    )
    ends = (expected(9)[7], expected(9)[2])
    output = finished(runtime, Generation("three", PROMPT, 9, end_ids=ends, log_probs=True))
    assert output.ids == expected(3)
    assert len(output.log_probs) == 3


@pytest.mark.parametrize(
    ("generation", "said"),
    [
        (Generation("a", PROMPT, 200), "should not exceed"),
        (Generation("b", PROMPT, 2, temperature=1, top_p=2.0), "top_p must be between 0 and 1"),
        (Generation("c", [5] * 128, 1), "too long"),
        (Generation("d", PROMPT, 2, guide=Guide("poem", "abab")), "guides of type 'poem' are not supported"),
    ],
)
def test_what_the_llm_refuses_is_the_request_s_fault_alone(runtime, generation, said):
    with pytest.raises(RequestRefusedError) as refused:
        runtime.add(generation)
    assert said in str(refused.value)
    assert finished(runtime, Generation("next", PROMPT, 2)).ids == expected(2)


def test_an_error_of_one_request_on_its_way_is_its_own(runtime, monkeypatch):
    def fail(result) -> None:
        raise runtime.refusal("no room for it")

    sequence = runtime.add(Generation("one", PROMPT, 100))
    monkeypatch.setattr(type(sequence.result), "__anext__", fail)
    while not (output := sequence.read()).ended:
        runtime.step()
    monkeypatch.undo()
    assert output.refused == "no room for it"


def test_any_other_error_breaks_it_for_everybody(runtime):
    runtime._llm.core.stop()
    runtime.add(Generation("one", PROMPT, 4))
    with pytest.raises(EngineError, match="LLM is shutting down"):
        runtime.step()


def test_waiting_is_no_sign_of_life(runtime):
    assert runtime.step() is False


def test_a_cancelled_sequence_is_aborted(runtime):
    sequence = runtime.add(Generation("one", PROMPT, 120))
    sequence.cancel()
    while runtime._llm.core.sequences:
        runtime.step()
    assert sequence.result.sequence.reason == "cancelled"
