from __future__ import annotations

import os
import socket
import threading
from array import array
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.engine_settings import CHOSEN

from stoker.errors import BuildError, EngineError, EngineMemoryError
from stoker.kinds.vllm.arguments import engine_arguments, environment
from stoker.kinds.vllm.runtime import link, process
from stoker.kinds.vllm.runtime.failures import code_of
from stoker.kinds.vllm.runtime.link import Link
from stoker.kinds.vllm.runtime.params import SequenceParams
from stoker.kinds.vllm.runtime.requests import params_of
from stoker.launch.generation import Generation, Guide
from stoker.plan.types import Chosen


def chosen(**changes: Any) -> Chosen:
    return Chosen(**{**CHOSEN, "engine": "vllm", "devices": (0,), "activation_precision": "bf16", **changes})


def test_the_plans_limits_are_vllms() -> None:
    arguments = engine_arguments(chosen(max_batch_size=256, max_num_tokens=8192, max_seq_len=4096), 1 << 30)
    assert arguments == {
        "dtype": "bfloat16",
        "max_model_len": 4096,
        "max_num_seqs": 256,
        "max_num_batched_tokens": 8192,
        "kv_cache_memory_bytes": 1 << 30,
        "gpu_memory_utilization": 0.01,
        "enable_prefix_caching": True,
        "tensor_parallel_size": 1,
        "pipeline_parallel_size": 1,
        "max_cudagraph_capture_size": 1024,  # also for prompts, however few sequences run
    }


def test_a_checkpoint_that_is_quantized_is_not_quantized_again() -> None:
    assert engine_arguments(chosen(precision="fp8"), 1)["quantization"] == "fp8"
    assert "quantization" not in engine_arguments(chosen(precision="fp8"), 1, quantized=True)


def test_a_step_holds_at_least_a_token_of_each_sequence() -> None:
    assert engine_arguments(chosen(max_batch_size=512, max_num_tokens=64), 1)["max_num_batched_tokens"] == 512


def test_a_cpu_has_no_graphs_and_its_own_threads() -> None:
    assert "max_cudagraph_capture_size" not in engine_arguments(chosen(devices=()), 1)
    assert environment(chosen(devices=(), threads=3))["OMP_NUM_THREADS"] == "3"
    assert environment(chosen()) == {}


def test_a_request_survives_the_way_to_the_host() -> None:
    generation = Generation(
        "r",
        (1, 2),
        7,
        end_ids=(3, 4),
        min_tokens=2,
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        min_p=0.1,
        seed=2**64 - 1,
        guide=Guide("regex", "é+"),
        embedding_bias=array("f", [0.0, -1.0]),
        top_log_probs=3,
        log_probs=True,
    )
    params = msgspec.convert(
        msgspec.msgpack.decode(msgspec.msgpack.encode(params_of(generation, "text"))), SequenceParams
    )
    assert (params.max_tokens, params.end_ids, params.min_tokens, params.seed) == (7, (3, 4), 2, 2**64 - 1)
    assert params.guide == ("regex", "é+")
    assert params.biases == {1: -1.0}
    assert params.told_log_probs == 3


@pytest.mark.parametrize(
    ("params", "count"),
    [(SequenceParams(), None), (SequenceParams(log_probs=True), 0), (SequenceParams(top_log_probs=2), 2)],
)
def test_log_probs_are_told_as_asked(params: SequenceParams, count: int | None) -> None:
    assert params.told_log_probs == count


def test_a_link_carries_messages_of_any_size() -> None:
    ours, theirs = map(Link, socket.socketpair())
    sent: list[list[Any]] = [[link.ADD, 2**63, 7, bytes(5_000_000), {"a": [1.5, None]}], [link.CLOSE, 1]]

    def send() -> None:
        for message in sent:
            ours.send(*message)
        ours.close()

    thread = threading.Thread(target=send)
    thread.start()
    received = [theirs.receive(), theirs.receive(), theirs.receive()]
    thread.join()
    theirs.close()
    assert received == [*sent, None]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), link.OUT_OF_MEMORY),
        (ValueError("No available memory for the cache blocks."), link.OUT_OF_MEMORY),
        (type("OutOfMemoryError", (RuntimeError,), {})("x"), link.OUT_OF_MEMORY),
        (ValueError("unknown architecture"), link.UNFIT),
        (RuntimeError("broken"), link.BROKEN),
    ],
)
def test_a_failure_to_load_has_a_code(error: BaseException, code: str) -> None:
    assert code_of(error) == code
    raised = process.load_error(code, str(error))
    assert isinstance(raised, EngineMemoryError) == (code == link.OUT_OF_MEMORY)


def test_without_a_python_that_has_vllm_the_kind_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(process.PYTHON, "/no/such/python")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(EngineError, match="no Python with vLLM"):
        process.interpreter()
    with pytest.raises(BuildError, match="no Python with vLLM"):
        process.package_folders()


def test_a_socket_in_a_long_folder_is_reached(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    listening = socket.socket(socket.AF_UNIX)
    descriptor = os.open(folder, os.O_PATH)
    listening.bind(f"/proc/self/fd/{descriptor}/s")
    os.close(descriptor)
    listening.listen(1)
    connection = socket.socket(socket.AF_UNIX)
    process.connect(connection, folder / "s")
    listening.accept()[0].close()
    connection.close()
    listening.close()
