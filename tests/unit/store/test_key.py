from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stoker.kinds import kind_named
from stoker.plan.types import Chosen, KvPool, MemoryBudget, Plan, Reason
from stoker.probe.machine import Cpu, Machine
from stoker.resolve.model import Architecture, Model, Weights
from stoker.store.key import digest_of, engine_key, key_inputs

CPU = Cpu("x86_64", "A processor", 4, None, 1 << 34, 1 << 34, 1 << 33, ("avx2", "avx512"))
CHOSEN = Chosen("p", "openvino", "text", "int8", "u8", "f32", 1, 1, (), 16, 256, 2048, 4)
MODEL = Model(
    "Qwen/Qwen2.5-0.5B-Instruct",
    "Qwen/Qwen2.5-0.5B-Instruct",
    "abc",
    Architecture("Qwen2ForCausalLM", "qwen2", 1, 64, 64, 1, 1, 64, 256, 2048),
    Weights(1, {"BF16": 2}),
    {},
)
PLAN = Plan(Machine("here", CPU), MODEL, CHOSEN, MemoryBudget(0, 0, 0, KvPool(0, 32, 0), 0), (), (), ())
VERSIONS = {"openvino": "1", "numpy": "2"}


def key(plan: Plan = PLAN, versions: dict[str, str] = VERSIONS, calibration: Path | None = None) -> str:
    return engine_key(
        plan.model.served_name,
        plan.chosen,
        key_inputs(plan, kind_named(plan.chosen.engine).build.key.choices(plan), versions, calibration),
    )


def test_the_key_reads_like_what_it_names() -> None:
    name, digest = key().rsplit("-", 1)
    assert name == "qwen2.5-0.5b-instruct-openvino-int8"
    assert len(digest) == 16
    int(digest, 16)


@pytest.mark.parametrize(
    ("name", "part"), [("demo", "demo"), ("a/b/C d", "c-d"), ("org/模型", "model"), ("org/.hidden-", "hidden")]
)
def test_a_name_of_any_form_has_its_last_part_in_the_key(name: str, part: str) -> None:
    assert engine_key(name, CHOSEN, {}).startswith(f"{part}-openvino-int8-")


def test_a_digest_knows_no_order_and_is_that_of_earlier_versions() -> None:
    """Engines in caches are found by it: a change of its form would build them all anew."""
    assert digest_of({"b": 1, "a": "模型"}) == digest_of({"a": "模型", "b": 1}) == "827623bca183ccee"


def test_every_input_that_changes_the_bytes_changes_the_key(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("calibrate")
    changed = [
        key(replace(PLAN, model=replace(MODEL, revision="abd"))),
        key(replace(PLAN, chosen=replace(CHOSEN, precision="int4"))),
        key(replace(PLAN, chosen=replace(CHOSEN, group_size=64))),
        key(replace(PLAN, chosen=replace(CHOSEN, engine="torch"))),
        key(replace(PLAN, chosen=replace(CHOSEN, tensor_parallel=2))),
        key(replace(PLAN, chosen=replace(CHOSEN, pipeline_parallel=2))),
        key(replace(PLAN, machine=Machine("here", replace(CPU, architecture="aarch64")))),
        key(replace(PLAN, machine=Machine("here", replace(CPU, isa=("avx2",))))),
        key(versions={**VERSIONS, "openvino": "2"}),
        key(calibration=text),
    ]
    assert len({key(), *changed}) == len(changed) + 1


def test_a_compiled_engine_depends_on_its_limits() -> None:
    compiled = replace(CHOSEN, engine="tensorrt_llm")
    limits = ("max_batch_size", "max_num_tokens", "max_seq_len")
    changes: list[dict[str, Any]] = [{limit: 7} for limit in limits]
    keys = {key(replace(PLAN, chosen=replace(compiled, **change))) for change in changes}
    assert len({key(replace(PLAN, chosen=compiled)), *keys}) == 4


@pytest.mark.parametrize(
    "same",
    [
        replace(PLAN, machine=replace(PLAN.machine, name="elsewhere")),
        replace(PLAN, machine=Machine("here", replace(CPU, isa=("avx512", "avx2")))),
        replace(PLAN, machine=Machine("here", replace(CPU, memory_available=1))),
        replace(PLAN, chosen=replace(CHOSEN, max_batch_size=1, max_seq_len=64, threads=1, kv_precision="f32")),
        replace(PLAN, reasons=(Reason("why", "because"),)),
        replace(PLAN, model=replace(MODEL, directory=Path("/somewhere/else"))),
    ],
)
def test_nothing_else_changes_the_key(same: Plan) -> None:
    assert key(same) == key()


def test_calibration_counts_by_content_not_by_place(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").write_text("the same words")
    assert key(calibration=tmp_path / "a") == key(calibration=tmp_path / "b")


def test_longrope_graphs_depend_on_the_context() -> None:
    config = {"rope_scaling": {"rope_type": "longrope", "short_factor": [1.0], "long_factor": [2.0]}}
    longrope = replace(PLAN, model=replace(MODEL, config=config))
    assert key(longrope) != key(replace(longrope, chosen=replace(CHOSEN, max_seq_len=64)))


FACTORS = {"short_factor": [1.0], "long_factor": [2.0]}


@pytest.mark.parametrize(
    "config",
    [
        {"architectures": ["Phi3ForCausalLM"], "rope_scaling": {"type": "yarn", **FACTORS}},
        {"architectures": ["Phi3ForCausalLM"], "rope_parameters": {"rope_type": "su", **FACTORS}},
        {"rope_scaling": {"rope_type": "su", **FACTORS}},
        {"rope_scaling": {"type": "longrope", **FACTORS}, "rope_parameters": {"rope_type": "default"}},
        {"text_config": {"rope_parameters": {"rope_type": "longrope", **FACTORS}}},
        {"rope_parameters": {"full_attention": {"rope_type": "longrope", **FACTORS}}},
        {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
    ],
    ids=str,
)
def test_whatever_depends_on_the_context_is_in_the_key(config: dict[str, Any]) -> None:
    plan = replace(PLAN, model=replace(MODEL, config=config))
    keys = {key(replace(plan, chosen=replace(CHOSEN, max_seq_len=context))) for context in (200, 512)}
    assert len(keys) == 2


@pytest.mark.parametrize("kind", ["default", "linear", "llama3", "yarn"])
def test_what_does_not_depend_on_the_context_is_built_once_for_all(kind: str) -> None:
    plan = replace(PLAN, model=replace(MODEL, config={"rope_scaling": {"rope_type": kind, "factor": 2.0}}))
    keys = {key(replace(plan, chosen=replace(CHOSEN, max_seq_len=context))) for context in (200, 512)}
    assert len(keys) == 1
