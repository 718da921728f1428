"""Compiled engines in real Triton, with the stand-in for the C++ backend: one process, and ranks under real mpirun."""

from __future__ import annotations

import asyncio
import json
import os
import runpy
import shutil
import signal
from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.waiting import SECONDS

from stoker.errors import EngineError
from stoker.kinds.tensorrt_llm import KIND
from stoker.kinds.tensorrt_llm.build.vocabulary import write_vocabulary
from stoker.launch.adapter_tensors import MODULES, read_tensors
from stoker.launch.generation import Adapter, EngineDiedError, Generation, Guide, RequestRefusedError
from stoker.launch.servable import Servable
from stoker.launch.supervisor import Patience, Supervisor
from stoker.plan.types import Chosen, KvPool
from stoker.processes import process_lives
from stoker.resolve.local import DEMO_DIRECTORY
from stoker.resolve.safetensors_header import read_header
from stoker.store.engine import Engine, Manifest

pytest.importorskip("pytriton")
IMAGE = runpy.run_path(str(Path(__file__).parents[2] / "fake_tensorrtllm_backend" / "image.py"))
make_engine, make_triton = IMAGE["make_engine"], IMAGE["make_triton"]
NEEDS_MPIRUN = pytest.mark.skipif(
    shutil.which("mpirun") is None, reason="several ranks need mpirun: apt install openmpi-bin"
)
PROMPT = (7, 8, 9)
MANIFEST = Manifest(1, "key", "tensorrt_llm", "model", "", {}, {}, {})
QUIET = Patience(heartbeat=3600, fresh=3600, wedged=7200, backoff=0.05)
RANKS = [1, pytest.param(2, marks=NEEDS_MPIRUN)]


def chosen(ranks: int) -> Chosen:
    devices = tuple(range(ranks))
    return Chosen("p", "tensorrt_llm", "text", "bf16", "bf16", "bf16", ranks, 1, devices, 8, 64, 512, 1)


def expected(count: int) -> list[int]:
    return [(sum(PROMPT) + 31 * position) % 200 + 5 for position in range(count)]


async def tokens(supervisor: Supervisor, generation: Generation) -> list[int]:
    return [token async for delta in supervisor.client.generate(generation) for token in delta.ids]


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def run(work):
    return asyncio.run(asyncio.wait_for(work, SECONDS))


@pytest.fixture
def ranks_folder(tmp_path, monkeypatch) -> Iterator[Path]:
    """The image on the path; each rank leaves its server's pid in this folder."""
    monkeypatch.setenv("PATH", f"{make_triton(tmp_path / 'triton')}{os.pathsep}{os.environ['PATH']}")
    folder = tmp_path / "ranks"
    folder.mkdir()
    monkeypatch.setenv("FAKE_TENSORRTLLM_RANKS", str(folder))
    return folder


def opened(engine: Engine, ranks: int, gpus: tuple[str, ...] = ()) -> Servable:
    return KIND.launch.open(engine, chosen(ranks), KvPool(128, 32, 1), gpus)


def supervised(tmp_path: Path, ranks: int, gpus: tuple[str, ...] = ()) -> Supervisor:
    engine = Engine(make_engine(tmp_path / "stored", ranks), MANIFEST)
    return Supervisor(opened(engine, ranks, gpus), QUIET)


async def servers(folder: Path, ranks: int) -> list[int]:
    """Once all ranks have started: the stand-in is ready when rank 0 is, where NCCL would have them meet first."""
    files = [folder / f"rank{rank}" for rank in range(ranks)]
    await until(lambda: all(file.exists() and file.read_text() for file in files))
    return [int(file.read_text()) for file in files]


async def with_engine(supervisor: Supervisor, work):
    try:
        await supervisor.start()
        return await work()
    finally:
        await supervisor.stop()


@pytest.mark.parametrize("ranks", RANKS)
def test_it_serves_and_leaves_nothing(ranks, ranks_folder, tmp_path):
    supervisor = supervised(tmp_path, ranks)

    async def work():
        state = await supervisor.client.state()
        ids = await tokens(supervisor, Generation("one", PROMPT, 20))
        return state, ids, await servers(ranks_folder, ranks), supervisor.run_directory

    state, ids, pids, directory = run(with_engine(supervisor, work))
    assert ids == expected(20)
    assert (state.kv_blocks_total, state.kv_block_tokens) == (128, 32)
    assert len(set(pids)) == ranks
    assert not any(process_lives(pid) for pid in pids)
    assert not directory.exists()
    assert not [path for path in Path("/dev/shm").glob("stoker-*") if f"-{os.getpid()}-" in path.name]


@pytest.mark.parametrize("ranks", RANKS)
def test_each_rank_sees_the_plans_gpus(ranks, ranks_folder, tmp_path):
    uuids = tuple(f"GPU-{rank}" for rank in range(ranks))
    supervisor = supervised(tmp_path, ranks, gpus=uuids)

    async def work():
        return [Path(f"/proc/{pid}/environ").read_bytes() for pid in await servers(ranks_folder, ranks)]

    for environment in run(with_engine(supervisor, work)):
        assert f"CUDA_VISIBLE_DEVICES={','.join(uuids)}\0".encode() in environment


def test_stop_tokens_log_probabilities_and_sampling_pass_the_contract(ranks_folder, tmp_path):
    supervisor = supervised(tmp_path, 1)
    sampled = Generation("two", PROMPT, 9, end_ids=(1, expected(5)[4]), temperature=0.7, seed=3, log_probs=True)

    async def work():
        return [delta async for delta in supervisor.client.generate(sampled)]

    deltas = run(with_engine(supervisor, work))
    assert [token for delta in deltas for token in delta.ids] == expected(5)
    assert [value for delta in deltas for value in delta.log_probs] == [-0.5] * 5


def test_a_bias_and_the_engines_own_measurements_pass_the_contract(ranks_folder, tmp_path):
    supervisor = supervised(tmp_path, 1)
    bias = array("f", [0.0] * 5 + [100.0])
    asked = Generation("three", tuple(range(70)), 3, embedding_bias=bias, perf_metrics=True)

    async def work():
        return [delta async for delta in supervisor.client.generate(asked)]

    deltas = run(with_engine(supervisor, work))
    assert [token for delta in deltas for token in delta.ids] == [5, 5, 5]
    assert [delta.perf_metrics for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    metrics = deltas[-1].perf_metrics
    assert (metrics.reused_blocks, metrics.prefill) == (2, 0)
    assert 0 < metrics.decode < 60


@pytest.mark.parametrize("with_vocabulary", [True, False])
def test_a_guide_needs_the_vocabulary_that_the_build_leaves(with_vocabulary, ranks_folder, tmp_path):
    supervisor = supervised(tmp_path, 1)
    if with_vocabulary:
        write_vocabulary(DEMO_DIRECTORY, tmp_path / "stored")
    guided = Generation("guided", PROMPT, 4, guide=Guide("ebnf_grammar", 'root ::= "a"'))

    async def work():
        if with_vocabulary:
            return await tokens(supervisor, guided)
        with pytest.raises(RequestRefusedError, match="guided decoding is not enabled"):
            await tokens(supervisor, guided)
        return await tokens(supervisor, Generation("plain", PROMPT, 4))

    assert run(with_engine(supervisor, work)) == expected(4)


def adapted(tmp_path: Path) -> Supervisor:
    """An engine of the demo model, built for two adapters of rank 8, as our plan has it built."""
    config = json.loads((DEMO_DIRECTORY / "config.json").read_text())
    modules = [name for _, name in MODULES.values()]
    build = {"lora_plugin": "float16", "max_lora_rank": 8, "lora_target_modules": modules}
    stored = make_engine(tmp_path / "stored", 1, pretrained_config=config, build_config=build)
    shutil.copy(DEMO_DIRECTORY / "config.json", stored)
    plan = replace(chosen(1), precision="f16", activation_precision="f16", max_loras=2, max_lora_rank=8)
    return Supervisor(KIND.launch.open(Engine(stored, MANIFEST), plan, KvPool(128, 32, 1), ()), QUIET)


def write_adapter(folder: Path, number: int, rank: int = 4) -> Adapter:
    """Of two projections whose inputs and outputs differ, in some layers."""
    tensors, draw = {}, np.random.default_rng(number)
    for name, tensor in read_header(DEMO_DIRECTORY / "model.safetensors").tensors.items():
        if name.endswith(("k_proj.weight", "down_proj.weight")):
            module = f"base_model.model.{name.removesuffix('.weight')}"
            tensors[f"{module}.lora_A.weight"] = draw.random((rank, tensor.shape[1]), np.float32)
            tensors[f"{module}.lora_B.weight"] = draw.random((tensor.shape[0], rank), np.float32)
    directory = folder / f"adapter{number}"
    directory.mkdir()
    save_file(tensors, directory / "adapter_model.safetensors")
    (directory / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank, "lora_alpha": 6}))
    return Adapter(number, str(directory))


def test_an_adapter_s_weights_go_with_its_first_request_and_again_when_they_were_dropped(
    ranks_folder, tmp_path, monkeypatch
):
    sent = tmp_path / "sent"
    sent.mkdir()
    monkeypatch.setenv("FAKE_TENSORRTLLM_LORAS", str(sent))
    supervisor = adapted(tmp_path)
    adapters = [write_adapter(tmp_path, number) for number in (1, 2, 3)]

    async def ask(adapter: Adapter | None) -> list[int]:
        return await tokens(supervisor, Generation("x", PROMPT, 5, adapter=adapter))

    async def work():
        given = [await ask(each) for each in (None, *adapters[:2], *adapters[:2], None)]
        once = sorted(path.stem for path in sent.iterdir())
        await asyncio.gather(*(ask(each) for each in (adapters[0], None, adapters[1]) * 4))
        assert sorted(path.stem for path in sent.iterdir()) == once
        await ask(adapters[2])  # the cache holds two: the first is dropped
        again = await ask(adapters[0])
        with pytest.raises(RequestRefusedError, match="low_rank"):
            await ask(write_adapter(tmp_path, 4, rank=16))
        return given, once, again, await ask(None)

    given, once, again, base = run(with_engine(supervisor, work))
    assert given[0] == given[-1] == base == expected(5)
    assert given[1] == given[3] == again == [(token - 5 + 1) % 200 + 5 for token in expected(5)]
    assert given[2] == given[4] != given[1]
    assert once == ["0-1", "1-2"]
    assert [path.stem for path in sorted(sent.iterdir())] == [*once, "2-3", "3-1"]
    with np.load(sent / "0-1.npz") as found:
        wanted = read_tensors(Path(adapters[0].directory), "FP16")
        assert (found["weights"].dtype, found["config"].dtype) == (np.float16, np.int32)
        assert np.array_equal(found["weights"], wanted.weights[None])
        assert np.array_equal(found["config"], wanted.config[None])


def test_a_request_that_is_given_up_is_stopped_in_the_engine(ranks_folder, tmp_path):
    supervisor = supervised(tmp_path, 1)

    async def running() -> int:
        return (await supervisor.client.state()).running

    async def work():
        stream = supervisor.client.generate(Generation("long", PROMPT, 1_000_000))
        await anext(stream)
        while not await running():
            await asyncio.sleep(0.05)
        await stream.aclose()
        while await running():
            await asyncio.sleep(0.05)
        return await tokens(supervisor, Generation("next", PROMPT, 3))

    assert run(with_engine(supervisor, work)) == expected(3)


@NEEDS_MPIRUN
@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_dies_ends_requests_cleanly_and_all_ranks_come_back(victim, ranks_folder, tmp_path, caplog):
    supervisor = supervised(tmp_path, 2)

    async def work():
        before = await servers(ranks_folder, 2)
        stream = supervisor.client.generate(Generation("long", PROMPT, 1_000_000))
        await anext(stream)
        os.kill(before[victim], signal.SIGKILL)
        with pytest.raises(EngineDiedError):
            async for _ in stream:
                pass
        await until(lambda: supervisor.restarts == 1 and supervisor.ready)
        return before, await tokens(supervisor, Generation("after", PROMPT, 4))

    before, after = run(with_engine(supervisor, work))
    assert after == expected(4)
    assert not any(process_lives(pid) for pid in before)
    assert f"rank {victim} of the engine was killed: signal 9 (Killed)" in caplog.text


def test_an_engine_of_another_number_of_ranks_says_why(ranks_folder, tmp_path):
    supervisor = supervised(tmp_path, 1)
    (tmp_path / "stored/engine/config.json").write_text('{"pretrained_config": {"mapping": {"world_size": 2}}}')
    with pytest.raises(EngineError, match="mpiSize == tp"):
        run(with_engine(supervisor, lambda: asyncio.sleep(0)))


def test_an_engine_that_lacks_a_rank_is_refused_before_a_server_starts(tmp_path):
    engine = Engine(make_engine(tmp_path, 1), MANIFEST)
    with pytest.raises(EngineError, match=r"rank1\.engine"):
        opened(engine, 2)


def test_an_image_without_the_backend_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    engine = Engine(make_engine(tmp_path, 1), MANIFEST)
    with pytest.raises(EngineError, match="tensorrtllm is not installed"):
        run(Supervisor(opened(engine, 1)).start())
