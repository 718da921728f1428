"""The C++ backend's config.pbtxt: equal to files that a reviewer can read, and good to Triton's own parser."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from stoker.kinds.openvino import TENSORS
from stoker.kinds.tensorrt_llm.runtime.model_config import compiled_model_config, write_compiled_repository
from stoker.kinds.tensorrt_llm.runtime.parameters import AdapterCache, Served, as_mapping, paged_context
from stoker.launch import contract
from stoker.launch.repository import model_config
from stoker.plan.types import Chosen

HERE = Path(__file__).parent
WORKER = "/opt/tritonserver/backends/tensorrtllm/trtllmExecutorWorker"
SERVED = {
    "paged": (Served("/cache/engines/llama/engine", WORKER, 259_840, paged_context=True), 256),
    "with_adapters": (
        Served(
            "/cache/engines/qwen/engine",
            WORKER,
            4_096,
            paged_context=True,
            dtype="bf16",
            adapters=AdapterCache(rank=16, bytes=1 << 30, share=0.25),
        ),
        8,
    ),
    "without_paging": (Served('/cache/a "b"\\c/engine', WORKER, 8_192, paged_context=False), 4),
}


def parsed(text: str):
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.mark.parametrize("name", SERVED)
def test_it_is_the_golden_one(name):
    assert compiled_model_config(*SERVED[name]) == (HERE / f"{name}.pbtxt").read_text()


@pytest.mark.parametrize("name", SERVED)
def test_triton_reads_in_it_what_was_meant(name):
    served, batch = SERVED[name]
    config = parsed(compiled_model_config(served, batch))
    assert (config.name, config.backend, config.max_batch_size) == (contract.MODEL_NAME, "tensorrtllm", batch)
    assert config.model_transaction_policy.decoupled
    assert {key: value.string_value for key, value in config.parameters.items()} == as_mapping(served)


def test_its_tensors_are_the_contract_without_our_additions():
    config = parsed(compiled_model_config(*SERVED["paged"]))
    for told, specs in ((config.input, contract.INPUTS), (config.output, contract.OUTPUTS)):
        wanted = [(spec.name, spec.data_type, spec.dims) for spec in specs if not spec.ours]
        data_type = model_config_pb2.DataType.Name
        assert [(each.name, data_type(each.data_type), tuple(each.dims)) for each in told] == wanted
    assert {each.name for each in config.input if not each.optional} == {
        "input_ids",
        "input_lengths",
        "request_output_len",
    }


def test_an_adapter_s_weights_have_the_engine_s_own_type():
    config = parsed(compiled_model_config(*SERVED["with_adapters"]))
    told = {each.name: each for each in config.input}
    assert (told["lora_weights"].data_type, told["lora_weights"].dims) == (model_config_pb2.TYPE_BF16, [-1, -1])
    assert (told["lora_config"].data_type, told["lora_config"].dims) == (model_config_pb2.TYPE_INT32, [-1, 3])
    parameters = as_mapping(SERVED["with_adapters"][0])
    assert parameters["lora_cache_max_adapter_size"] == "16"
    assert parameters["lora_cache_gpu_memory_fraction"] == "0.2500"
    assert parameters["lora_cache_host_memory_bytes"] == str(2 << 30)


def test_the_python_models_config_parses_too():
    assert parsed(model_config(Path("/run/settings.json"), 16, TENSORS["text"])).backend == "python"


def chosen(precision: str, kv_precision: str) -> Chosen:
    return Chosen("p", "tensorrt_llm", "text", precision, kv_precision, "bf16", 1, 1, (0,), 8, 2048, 4096, 1)


@pytest.mark.parametrize(
    ("precision", "kv_precision", "paged"),
    [("bf16", "bf16", True), ("fp8", "fp8", True), ("bf16", "int8", False), ("int8_wo", "fp8", False)],
)
def test_a_cache_of_fewer_bits_than_the_attention_turns_paging_off(precision, kv_precision, paged):
    assert paged_context(chosen(precision, kv_precision)) is paged


def test_the_repository_is_one_model_with_one_empty_version(tmp_path):
    write_compiled_repository(tmp_path, *SERVED["paged"])
    assert [path.name for path in (tmp_path / "engine").iterdir() if path.is_dir()] == ["1"]
    assert (tmp_path / "engine" / "config.pbtxt").is_file()
