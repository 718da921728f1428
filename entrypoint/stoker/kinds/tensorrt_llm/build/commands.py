"""From a plan to the command lines of TensorRT-LLM's tools: each flag, its value, and why. Pure functions.

Flags and values are those of TensorRT-LLM 1.2 (examples/models/core/*/convert_checkpoint.py, examples/quantization/
quantize.py, tensorrt_llm/commands/build.py and plugin/plugin.py); tests/fake_tensorrt_llm_tools holds them as tables.

Paths are bare names: the tools run in a directory of their own. quantize.py looks for words such as "vila" or "mpt" in
the model's path, and for names of data sets in that of the calibration text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from stoker.errors import BuildError
from stoker.kinds.tensorrt_llm.files import ENGINE
from stoker.kinds.tensorrt_llm.plan.catalogue import Converter
from stoker.kinds.tensorrt_llm.plan.checkpoint import checkpoint_kind
from stoker.launch.adapter_tensors import MODULES
from stoker.plan.types import Chosen
from stoker.resolve.model import Model

MODEL, CALIBRATION, CHECKPOINT = "model", "calibration", "checkpoint"

# quantize.py's names of precisions; those that need calibration only for their cache come last.
_FORMATS: Mapping[str, str] = {
    **{name: name for name in ("fp8", "nvfp4", "int8_sq", "int4_awq", "w4a8_awq")},
    "int8_wo": "int8_wo",
    "int4_wo": "int4_wo",
    "bf16": "full_prec",
    "f16": "full_prec",
}
_CALIBRATED = ("fp8", "nvfp4", "int8_sq", "int4_awq", "w4a8_awq")
_WEIGHT_ONLY: Mapping[str, str] = {"int8_wo": "int8", "int4_wo": "int4"}
_KEPT: Mapping[str, str] = {"awq": "int4_awq", "gptq": "int4_gptq", "fp8_rowwise": "fp8"}
_DTYPES: Mapping[str, str] = {"f16": "float16", "bf16": "bfloat16"}
_FP8_ATTENTION = ("fp8", "nvfp4", "w4a8_awq")
_SAMPLES, _SAMPLE_TOKENS = 512, 512


@dataclass(frozen=True)
class Flag:
    """`value` is empty for a switch; words that follow one another are apart by spaces."""

    name: str
    value: str
    reason: str


@dataclass(frozen=True)
class Step:
    """One run of a tool: convert, quantize or build. `folder` is the converter's; `environment` what it needs set;
    `leaves` the files that it must leave, where those are not the ranks'."""

    tool: str
    flags: tuple[Flag, ...]
    folder: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    leaves: tuple[str, ...] = ()

    @property
    def arguments(self) -> list[str]:
        return [word for flag in self.flags for word in (flag.name, *flag.value.split())]


@dataclass(frozen=True)
class Order:
    """What the command lines follow from. `workers`: ranks to make at once. `paged`: attention over a prompt reads the
    cache in pages."""

    model: Model
    chosen: Chosen
    converter: Converter
    workers: int
    paged: bool


def steps(order: Order) -> tuple[Step, Step]:
    """To the checkpoint, and from there to the engine. BuildError for what no tool makes."""
    return _to_checkpoint(order), Step("build", tuple(_build(order)))


def _to_checkpoint(order: Order) -> Step:
    chosen, kind = order.chosen, checkpoint_kind(order.model.quantization)
    if kind not in order.converter.reads or (kind != "plain" and _KEPT.get(kind) != chosen.precision):
        raise BuildError(f"no tool of TensorRT-LLM makes {chosen.precision} of a checkpoint that is {kind}")
    if kind == "plain" and (chosen.precision in _CALIBRATED or chosen.kv_precision in ("fp8", "int8")):
        return Step("quantize", tuple(_quantize(order.chosen, "tensorrt_llm")))
    converter = order.converter
    return Step("convert", tuple(_convert(order, kind)), converter.folder, converter.environment)


def _convert(order: Order, kind: str) -> Iterator[Flag]:
    chosen, converter = order.chosen, order.converter
    yield Flag(converter.source, MODEL, "the checkpoint, by a link")
    yield Flag("--output_dir", CHECKPOINT, "deleted after the build")
    yield Flag("--dtype", _DTYPES[chosen.activation_precision], "what the plan computes in")
    yield Flag(converter.tensor, str(chosen.tensor_parallel), "the plan's GPUs that share a layer")
    if converter.pipeline:
        yield Flag(converter.pipeline, str(chosen.pipeline_parallel), "the plan's groups of layers")
    if converter.workers:
        yield Flag(converter.workers, str(order.workers), "as many ranks at once as the host's memory holds")
    yield from (Flag(name, value, "this family's converter needs it") for name, value in converter.fixed.items())
    if chosen.precision in _WEIGHT_ONLY:
        yield Flag("--use_weight_only", "", f"the plan's {chosen.precision}")
        yield Flag("--weight_only_precision", _WEIGHT_ONLY[chosen.precision], f"the plan's {chosen.precision}")
    if kind != "plain" and chosen.kv_precision == "fp8":
        assert converter.fp8_cache is not None
        yield Flag(converter.fp8_cache, "", "the plan's cache, with scales of 1: the checkpoint brings none")


def quantize_for_pytorch(chosen: Chosen) -> Step:
    """A quantised checkpoint in Hugging Face's own form, whole: who loads it splits it."""
    return Step("quantize", tuple(_quantize(chosen, "hf")), leaves=("config.json", "hf_quant_config.json"))


def _quantize(chosen: Chosen, export: str) -> Iterator[Flag]:
    yield Flag("--model_dir", MODEL, "the checkpoint, by a link")
    yield Flag("--output_dir", CHECKPOINT, "deleted after the build")
    yield Flag("--dtype", _DTYPES[chosen.activation_precision], "what stays in 16 bits")
    yield Flag("--qformat", _FORMATS[chosen.precision], f"the plan's {chosen.precision}")
    if chosen.kv_precision in ("fp8", "int8"):
        yield Flag("--kv_cache_dtype", chosen.kv_precision, "the plan's cache, with measured scales")
    if chosen.precision in ("int4_awq", "w4a8_awq"):
        yield Flag("--awq_block_size", str(chosen.group_size), "the plan's group of inputs with one scale")
    if export == "tensorrt_llm":
        yield Flag("--tp_size", str(chosen.tensor_parallel), "the plan's GPUs that share a layer")
        yield Flag("--pp_size", str(chosen.pipeline_parallel), "the plan's groups of layers")
    yield Flag("--calib_dataset", CALIBRATION, "a local directory: nothing is downloaded")
    yield Flag("--calib_size", str(_SAMPLES), "at most; the packaged text is shorter")
    yield Flag("--calib_max_seq_length", str(_SAMPLE_TOKENS), "the tool's default, which its published results use")
    yield Flag("--device_map", "auto", "a model larger than the GPUs calibrates with a part of it on the host")
    reader = "trtllm-build" if export == "tensorrt_llm" else "tensorrt_llm.LLM"
    yield Flag("--export_format", export, f"what {reader} reads")


def _build(order: Order) -> Iterator[Flag]:
    yield Flag("--checkpoint_dir", CHECKPOINT, "from the step before")
    yield Flag("--output_dir", ENGINE, "moved into the store when it is whole")
    yield Flag("--workers", str(order.workers), "as many ranks at once as the host's memory holds")
    yield Flag("--log_level", "info", "progress is read from it")
    yield from _limits(order.chosen)
    yield from _attention(order)
    yield from _products(order)
    if order.chosen.max_loras:
        yield from _adapters(order.chosen)


def _adapters(chosen: Chosen) -> Iterator[Flag]:
    yield Flag("--lora_plugin", _DTYPES[chosen.activation_precision], "LoRA adapters, in what the plan computes in")
    yield Flag("--max_lora_rank", str(chosen.max_lora_rank), "the plan's largest rank")
    names = " ".join(name for _, name in MODULES.values())
    yield Flag("--lora_target_modules", names, "every projection: which ones adapters change is not known beforehand")


def _limits(chosen: Chosen) -> Iterator[Flag]:
    yield Flag("--max_batch_size", str(chosen.max_batch_size), "the plan's concurrent sequences")
    yield Flag("--max_num_tokens", str(chosen.max_num_tokens), "the plan's tokens in one step")
    yield Flag("--max_seq_len", str(chosen.max_seq_len), "the plan's context; the model's own may not fit")
    yield Flag("--max_input_len", str(chosen.max_seq_len), "the whole context: its default may be more or less")
    yield Flag("--max_beam_width", "1", "the API has no beams")


def _attention(order: Order) -> Iterator[Flag]:
    chosen = order.chosen
    dtype = _DTYPES[chosen.activation_precision]
    yield Flag("--gpt_attention_plugin", dtype, "in-flight batching needs the plugin")
    yield Flag("--kv_cache_type", "paged", "in-flight batching needs pages")
    yield Flag("--tokens_per_block", "32", "what the plan counts the cache in")
    yield Flag("--remove_input_padding", "enable", "sequences of a step are packed")
    yield Flag("--context_fmha", "enable", "fused attention over the prompt")
    reuse = "shared beginnings and prompts in pieces" if order.paged else "this cache and these weights rule it out"
    yield Flag("--use_paged_context_fmha", _switch(order.paged), reuse)
    eight_bits = order.paged and chosen.precision in _FP8_ATTENTION and chosen.kv_precision == "fp8"
    yield Flag("--use_fp8_context_fmha", _switch(eight_bits), "needs FP8, NVFP4 or W4A8 weights and an FP8 cache")


def _products(order: Order) -> Iterator[Flag]:
    chosen = order.chosen
    yield Flag("--gemm_plugin", _gemm(order), "cuBLAS for 16 bits, TensorRT's own kernels for FP8, a plugin for NVFP4")
    if order.model.architecture.experts:
        yield Flag("--moe_plugin", "auto", "all experts in one kernel")
    yield Flag("--use_fused_mlp", "enable", "gate and up in one product; the tool drops it where weights rule it out")
    yield Flag("--multiple_profiles", "enable", "kernels for small steps too: NVIDIA measured 19 % more tokens/s")
    if chosen.tensor_parallel > 1:
        yield Flag("--nccl_plugin", "auto", "what GPUs that share a layer exchange by")


def _gemm(order: Order) -> str:
    chosen = order.chosen
    if chosen.precision == "nvfp4":
        return "nvfp4"
    if chosen.precision == "fp8":
        return "disable" if order.model.quantization is None else "auto"
    return _DTYPES[chosen.activation_precision]


def _switch(on: bool) -> str:
    return "enable" if on else "disable"
