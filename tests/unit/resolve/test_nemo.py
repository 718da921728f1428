"""NeMo and Megatron checkpoints: recognised, planned for TensorRT-LLM's own converter, or refused with the way out."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from tests.planning import plan_any

from stoker.errors import DamagedModelError, ModelError, StokerError, UnsupportedModelError
from stoker.kinds.tensorrt_llm.build.commands import Order, steps
from stoker.kinds.tensorrt_llm.plan.catalogue import load_nvidia
from stoker.origin import Origin, Sourced
from stoker.plan.types import Overrides, Plan
from stoker.probe.description import load_description
from stoker.progress import Silent
from stoker.resolve.model import Model
from stoker.resolve.resolve import resolve

CONFIG = {
    "num_layers": 4, "hidden_size": 256, "ffn_hidden_size": 512, "num_attention_heads": 8, "num_query_groups": 4,
    "encoder_seq_length": 4096, "precision": "bf16-mixed", "share_embeddings_and_output_weights": False,
    "tensor_model_parallel_size": 2, "make_vocab_size_divisible_by": 128,
}  # fmt: skip
TOKENIZER = {"model": {"vocab": {"a": 0, "b": 1}}, "added_tokens": [{"id": 300, "content": "</s>"}]}
NO_OVERRIDES = Overrides()
FP8 = Sourced("fp8", Origin.FLAG, "a flag")
RANKS = {f"./mp_rank_0{rank}/model_weights.ckpt": b"0" * 1000 for rank in range(2)}


def make_archive(
    folder: Path, files: dict[str, bytes], mode: Literal["w", "w:gz"] = "w", tokenizer: bool = True
) -> Path:
    if tokenizer:
        (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    path = folder / "gpt.nemo"
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def files_of(config: dict[str, Any] = CONFIG, weights: dict[str, bytes] = RANKS) -> dict[str, bytes]:
    return {"./model_config.yaml": yaml.safe_dump(config).encode(), **weights}


def resolved(path: Path, folder: Path, weights: bool = True) -> Model:
    return resolve(str(path), folder / "cache", Silent(), weights=weights)


def planned(model: Model, machine: str, overrides: Overrides = NO_OVERRIDES, *, gpus: bool = True) -> Plan:
    kinds = frozenset({"openvino", "torch", *(["tensorrt_llm"] if gpus else [])})
    here = load_description(machine)
    return plan_any(here, model, overrides, kinds)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_an_archive_tells_its_facts(mode, tmp_path):
    path = make_archive(tmp_path, files_of(), mode)
    model = resolved(path, tmp_path)
    facts = model.architecture
    assert (facts.name, facts.layers, facts.hidden_size, facts.intermediate_size) == ("GPTForCausalLM", 4, 256, 512)
    assert (facts.heads, facts.kv_heads, facts.head_size, facts.tied_embeddings) == (8, 4, 32, False)
    assert (facts.vocabulary_size, facts.max_position_embeddings) == (512, 4096)
    assert (model.weights.parameters, model.weights.total_bytes) == (1000, 2000)
    assert (model.served_name, model.files) == ("gpt", ("gpt.nemo", "tokenizer.json"))
    assert resolved(tmp_path, tmp_path).revision == model.revision
    assert resolved(path, tmp_path, weights=False).directory is None


def test_a_gpu_plan_hands_it_to_tensorrt_llms_own_converter(tmp_path):
    plan = planned(resolved(make_archive(tmp_path, files_of()), tmp_path), "2xH100,cpu:8c-64g")
    assert (plan.chosen.engine, plan.chosen.precision) == ("tensorrt_llm", "bf16")
    converter = load_nvidia().converters["GPTForCausalLM"]
    convert, _ = steps(Order(plan.model, plan.chosen, converter, 1, True))
    assert (convert.tool, convert.folder, convert.arguments[:2]) == ("convert", "gpt", ["--nemo_ckpt_path", "model"])


@pytest.mark.parametrize("machine", ["cpu:8c-64g", "1xH100,cpu:8c-64g"])
def test_elsewhere_it_says_that_it_takes_a_gpu_and_its_image_or_an_export(machine, tmp_path):
    model = resolved(make_archive(tmp_path, files_of()), tmp_path)
    with pytest.raises(UnsupportedModelError, match="NeMo checkpoint, which only TensorRT-LLM reads") as caught:
        planned(model, machine, gpus=False)
    assert "export it" in caught.value.remedy


@pytest.mark.parametrize("overrides", [Overrides(precision=FP8), Overrides(kv_precision=FP8)])
def test_it_is_not_quantised(overrides, tmp_path):
    model = resolved(make_archive(tmp_path, files_of()), tmp_path)
    with pytest.raises(StokerError):
        planned(model, "1xH100,cpu:8c-64g", overrides)


@pytest.mark.parametrize(
    ("files", "error", "said"),
    [
        (files_of(weights={"model_weights/common.pt": b"0"}), UnsupportedModelError, "its weights are distributed"),
        (files_of(weights={}), UnsupportedModelError, "it has no model_weights.ckpt"),
        (RANKS, DamagedModelError, "no model_config.yaml"),
        (files_of({**CONFIG, "num_layers": "four"}), DamagedModelError, "num_layers is 'four'"),
        (files_of({**CONFIG, "num_layers": 10**18}), DamagedModelError, "num_layers is 1000"),
        (files_of({**CONFIG, "hidden_size": float("nan")}), DamagedModelError, "hidden_size is nan"),
        (files_of({**CONFIG, "max_position_embeddings": True}), DamagedModelError, "max_position_embeddings is True"),
        ({"model_config.yaml": b"{"}, DamagedModelError, "is damaged"),
        ({"model_config.yaml": b"[" * 100_000}, DamagedModelError, "is damaged"),
    ],
)
def test_an_archive_that_cannot_be_converted_says_why(files, error, said, tmp_path):
    path = make_archive(tmp_path, files)
    with pytest.raises(error, match=said):
        resolved(path, tmp_path)


def test_what_is_no_tar_is_damaged(tmp_path):
    path = make_archive(tmp_path, {})
    path.write_bytes(b"not a tar" * 100)
    with pytest.raises(DamagedModelError, match="is damaged"):
        resolved(path, tmp_path)


def test_without_a_tokenizer_it_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no tokenizer.json"):
        resolved(make_archive(tmp_path, files_of(), tokenizer=False), tmp_path)


@pytest.mark.parametrize(
    ("names", "what", "how"),
    [
        (["model_config.yaml", "model_weights/common.pt"], "unpacked NeMo 1", "convert_<family>_nemo_to_hf"),
        (["weights/common.pt", "context/model.yaml"], "NeMo 2", "export_ckpt"),
        (["latest_checkpointed_iteration.txt", "iter_0000100/mp_rank_00/x.pt"], "Megatron", "AutoBridge"),
        (["mp_rank_00/model_optim_rng.pt"], "Megatron", "AutoBridge"),
    ],
)
def test_other_forms_are_recognised_and_the_export_is_named(names, what, how, tmp_path):
    for name in names:
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_text("100")
    with pytest.raises(UnsupportedModelError, match=what) as caught:
        resolved(tmp_path / "model", tmp_path)
    assert how in caught.value.remedy
