"""Stands in for Triton's C++ backend `tensorrtllm` of TensorRT-LLM 1.2, which needs an NVIDIA GPU: a Python-based
backend of the same name, so that real Triton reads the very config.pbtxt that a GPU's would.

Tensors, parameters, metrics and leader mode are those of the published interface; the tokens are arithmetic on the
prompt. It refuses a parameter that the real one does not list, an engine that is not there for its rank, and a number
of processes other than the engine's ranks.

    FAKE_TENSORRTLLM_STEP    seconds that a step takes (0.002)
    FAKE_TENSORRTLLM_RANKS   a folder where each rank leaves its server's pid once it has its engine
    FAKE_TENSORRTLLM_LORAS   a folder where it leaves the tensors of each adapter that it is sent
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from stoker.launch.stub.gauges import never_free
from stoker.launch.stub.parent import die_with

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
BLOCK = 32
ROOM = 2  # adapters in its cache; the one that was used longest ago makes room for another
TIMES = ("arrival_time_ns", "first_scheduled_time_ns", "first_token_time_ns", "last_token_time_ns")
PARAMETERS = frozenset(
    """
    max_beam_width FORCE_CPU_ONLY_INPUT_TENSORS gpt_model_type gpt_model_path encoder_model_path
    max_tokens_in_paged_kv_cache max_attention_window_size sink_token_length batch_scheduler_policy
    kv_cache_free_gpu_mem_fraction cross_kv_cache_fraction kv_cache_host_memory_bytes exclude_input_in_output
    cancellation_check_period_ms stats_check_period_ms recv_poll_period_ms iter_stats_max_iterations
    request_stats_max_iterations enable_kv_cache_reuse normalize_log_probs enable_chunked_context gpu_device_ids
    participant_ids num_nodes lora_cache_optimal_adapter_size lora_cache_max_adapter_size
    lora_cache_gpu_memory_fraction lora_cache_host_memory_bytes lora_prefetch_dir decoding_mode
    executor_worker_path medusa_choices eagle_choices gpu_weights_percent enable_context_fmha_fp32_acc
    multi_block_mode cuda_graph_mode cuda_graph_cache_size speculative_decoding_fast_logits tokenizer_dir
    xgrammar_tokenizer_info_path guided_decoding_backend
    """.split()  # noqa: SIM905 (as a table, to be compared with the published one)
)


def token(prompt_sum: int, position: int) -> int:
    """What it generates: ids 5 to 204, which every vocabulary has."""
    return (prompt_sum + 31 * position) % 200 + 5


class Request:
    def __init__(self, request: Any, outputs: frozenset[str]) -> None:
        self.outputs = outputs
        self.id = request.request_id()
        self.sender = request.get_response_sender()
        ids = _tensor(request, "input_ids").reshape(-1)[: _scalar(request, "input_lengths")]
        self.prompt, self.sum = len(ids), int(ids.sum())
        self.limit = _scalar(request, "request_output_len")
        self.ends = _ends(request)
        self.log_probs = bool(_scalar(request, "return_log_probs"))
        self.streaming = bool(_scalar(request, "streaming"))
        self.guide = _tensor(request, "guided_decoding_guide_type")
        self.bias = _tensor(request, "embedding_bias")
        self.moments = [time.monotonic_ns()] if _scalar(request, "return_perf_metrics") else None
        self.made: list[int] = []
        self.lora = _scalar(request, "lora_task_id")
        self.sum += self.lora or 0

    def step(self) -> bool:
        """Whether it is over now."""
        self.made.append(self._next())
        if self.moments is not None and len(self.moments) < 3:  # scheduled and prefilled at once
            self.moments += [time.monotonic_ns()] * 2
        over = len(self.made) >= self.limit or self.made[-1] in self.ends
        if self.streaming:
            self.send(self.made[-1:], over)
        elif over:
            self.send(self.made, over)
        return over

    def _next(self) -> int:
        """A bias of 100 is more than anything that the model may want."""
        wanted = [] if self.bias is None else np.flatnonzero(self.bias == 100).tolist()
        return wanted[0] if wanted else token(self.sum, len(self.made))

    def send(self, ids: list[int], over: bool) -> None:
        tensors = [
            pb_utils.Tensor("output_ids", np.array([[ids]], np.int32)),
            pb_utils.Tensor("sequence_length", np.array([[len(ids)]], np.int32)),
        ]
        if self.log_probs:
            tensors.append(pb_utils.Tensor("output_log_probs", np.full((1, 1, len(ids)), -0.5, np.float32)))
        if over and self.moments is not None:
            tensors += self._perf_metrics([*self.moments, time.monotonic_ns()])
        self.sender.send(pb_utils.InferenceResponse(output_tensors=tensors), flags=FINAL if over else 0)

    def _perf_metrics(self, moments: list[int]) -> list[Any]:
        """All blocks but the last are said to have been there."""
        counts = {"reused": (self.prompt - 1) // BLOCK, "alloc_new": 1, "alloc_total": -(-self.prompt // BLOCK)}
        blocks = {f"kv_cache_{name}_blocks": np.array([[count]], np.int32) for name, count in counts.items()}
        times = {name: np.array([[moment]], np.int64) for name, moment in zip(TIMES, moments, strict=True)}
        declared = {name: value for name, value in (blocks | times).items() if name in self.outputs}
        return [pb_utils.Tensor(name, value) for name, value in declared.items()]


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        _die_with(os.getppid())
        config = json.loads(args["model_config"])
        self.parameters = {name: each["string_value"] for name, each in config["parameters"].items()}
        _check(self.parameters)
        self.outputs = frozenset(output["name"] for output in config["output"])
        self.vocabulary = _vocabulary(self.parameters)
        self.period = int(self.parameters["cancellation_check_period_ms"]) / 1000
        self.loras = _Loras(self.parameters, config)
        self.lock = threading.Lock()
        self.requests: list[Request] = []
        self.stopped = threading.Event()
        self.gauges = _Gauges(config["max_batch_size"], int(self.parameters["max_tokens_in_paged_kv_cache"]))
        if os.environ.get("OMPI_COMM_WORLD_RANK", "0") != "0":
            threading.Event().wait()  # leader mode: the others never come back from here
        self.thread = threading.Thread(target=self._loop)
        self.thread.start()

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            if _scalar(request, "stop"):
                self._stop(request.request_id())
                request.get_response_sender().send(flags=FINAL)
                continue
            taken = Request(request, self.outputs)
            if taken.guide is not None and self.vocabulary is None:
                error = pb_utils.TritonError("guided decoding is not enabled: guided_decoding_backend is not set")
                taken.sender.send(pb_utils.InferenceResponse(error=error), flags=FINAL)
                continue
            if problem := self.loras.take(request):
                taken.sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError(problem)), flags=FINAL)
                continue
            with self.lock:
                self.requests.append(taken)

    def finalize(self) -> None:
        self.stopped.set()
        self.thread.join()

    def _stop(self, request_id: str) -> None:
        with self.lock:
            for each in [each for each in self.requests if each.id == request_id]:
                self.requests.remove(each)
                each.sender.send(flags=FINAL)

    def _loop(self) -> None:
        step, checked = float(os.environ.get("FAKE_TENSORRTLLM_STEP", "0.002")), 0.0
        while not self.stopped.wait(step):
            with self.lock:
                if time.monotonic() - checked > self.period:
                    self._drop_cancelled()
                    checked = time.monotonic()
                self.requests = [each for each in self.requests if not each.step()]
                self.gauges.tell(self.requests)

    def _drop_cancelled(self) -> None:
        for each in [each for each in self.requests if each.sender.is_cancelled()]:
            self.requests.remove(each)
            each.sender.send(flags=FINAL)


MODULES = {"attn_q": 1, "attn_k": 2, "attn_v": 3, "attn_dense": 4, "mlp_h_to_4h": 5, "mlp_4h_to_h": 6, "mlp_gate": 7}
LORA_TYPES = {"float16": "TYPE_FP16", "bfloat16": "TYPE_BF16"}


class _Loras:
    """What peftCacheManager.cpp and loraUtils.cpp check of a request's adapter, in their words. Only of engines in f16:
    Triton's Python backend makes no NumPy array of bf16."""

    def __init__(self, parameters: dict[str, str], config: dict[str, Any]) -> None:
        folder = Path(parameters["gpt_model_path"])
        self.engine = json.loads((folder / "config.json").read_text())
        self.build = self.engine.get("build_config", {})
        self.cached: dict[int, None] = {}
        if not self.build.get("lora_plugin"):
            return
        (declared,) = (each["data_type"] for each in config["input"] if each["name"] == "lora_weights")
        if declared != LORA_TYPES[self.build["lora_plugin"]]:
            raise ValueError(f"lora_weights are {declared}, the engine computes in {self.build['lora_plugin']}")
        if int(parameters["lora_cache_max_adapter_size"]) < self.build["max_lora_rank"]:
            raise ValueError("lora_cache_max_adapter_size is below the engine's max_lora_rank")
        if not 0 < float(parameters["lora_cache_gpu_memory_fraction"]) < 1:
            raise ValueError("lora_cache_gpu_memory_fraction")

    def take(self, request: Any) -> str:
        """What is wrong with it; empty for nothing."""
        if (number := _scalar(request, "lora_task_id")) is None:
            return ""
        if not self.build.get("lora_plugin"):
            return "lora_weights provided but the engine has no LoRA plugin"
        weights, config = _tensor(request, "lora_weights"), _tensor(request, "lora_config")
        if weights is None or config is None:
            if number not in self.cached:
                return f"LoRA task {number} not found in cache. Please send LoRA weights with request"
        elif problem := self.check(weights, config):
            return problem
        else:
            self.keep(number, weights, config)
        self.cached[number] = self.cached.pop(number, None)
        return ""

    def check(self, weights: Any, config: Any) -> str:
        if weights.ndim != 3 or config.ndim != 3 or weights.shape[0] != 1 or config.shape[0] != 1:
            return "Expected batch dimension to be 1 for each lora request"
        if weights.shape[1] != config.shape[1] or config.shape[2] != 3:
            return "Expected dim1 lora_weights and lora_keys to have the same size"
        allowed = {MODULES[name] for name in self.build["lora_target_modules"]}
        layers = self.engine["pretrained_config"]["num_hidden_layers"]
        for module, layer, rank in config[0].tolist():
            if module not in allowed:
                return f"lora module {module} not enabled for this model"
            if not 0 <= layer < layers:
                return "Expected layerId to be in the range [0, numModelLayers)"
            if not 0 < rank <= self.build["max_lora_rank"]:
                return f"Invalid low_rank ({rank}). low_rank must be smaller than mMaxLowRank"
            if self.size(module, rank) > weights.shape[2]:
                return f"lora_weights has to few values for {module}"
        return ""

    def size(self, module: int, rank: int) -> int:
        told = self.engine["pretrained_config"]
        hidden, inner, heads = told["hidden_size"], told["intermediate_size"], told["num_attention_heads"]
        keys = told["num_key_value_heads"] * (hidden // heads)
        sizes = {1: 2 * hidden, 2: hidden + keys, 3: hidden + keys, 4: 2 * hidden}
        return rank * sizes.get(module, hidden + inner)

    def keep(self, number: int, weights: Any, config: Any) -> None:
        while number not in self.cached and len(self.cached) >= ROOM:
            self.cached.pop(next(iter(self.cached)))
        if place := os.environ.get("FAKE_TENSORRTLLM_LORAS"):
            np.savez(Path(place) / f"{len(list(Path(place).iterdir()))}-{number}.npz", weights=weights, config=config)


class _Gauges:
    def __init__(self, batch: int, tokens: int) -> None:
        self.blocks = tokens // BLOCK
        self.families = []
        requests = self._family("nv_trt_llm_request_metrics", "request_type", ("active", "max", "waiting"))
        blocks = self._family("nv_trt_llm_kv_cache_block_metrics", "kv_cache_block_type", _BLOCK_TYPES)
        self.active, self.used, self.free = requests["active"], blocks["used"], blocks["free"]
        requests["max"].set(batch)
        blocks["max"].set(self.blocks)
        blocks["tokens_per"].set(BLOCK)
        never_free(tuple(self.families))

    def _family(self, name: str, label: str, values: tuple[str, ...]) -> dict[str, Any]:
        family = pb_utils.MetricFamily(name=name, description=name, kind=pb_utils.MetricFamily.GAUGE)
        self.families.append(family)
        return {
            value: family.Metric(labels={"model": "tensorrt_llm", label: value, "version": "1"}) for value in values
        }

    def tell(self, requests: list[Request]) -> None:
        used = sum(-(-(each.prompt + len(each.made)) // BLOCK) for each in requests)
        self.active.set(len(requests))
        self.used.set(used)
        self.free.set(self.blocks - used)


_BLOCK_TYPES = ("used", "free", "max", "tokens_per")


def _check(parameters: dict[str, str]) -> None:
    unknown = set(parameters) - PARAMETERS
    if unknown:
        raise ValueError(f"unknown parameters: {sorted(unknown)}")
    rank, world = (int(os.environ.get(f"OMPI_COMM_WORLD_{name}", "0" if name == "RANK" else "1")) for name in _WORLD)
    folder = Path(parameters["gpt_model_path"])
    ranks = json.loads((folder / "config.json").read_text())["pretrained_config"]["mapping"]["world_size"]
    if ranks != world:
        raise ValueError(f"mpiSize == tp * pp: {world} processes for {ranks} ranks")
    (folder / f"rank{rank}.engine").read_bytes()
    if place := os.environ.get("FAKE_TENSORRTLLM_RANKS"):
        (Path(place) / f"rank{rank}").write_text(str(os.getppid()))


_WORLD = ("RANK", "SIZE")


def _vocabulary(parameters: dict[str, str]) -> list[str] | None:
    """What the real one makes its xgrammar tokenizer of; it fails to load without."""
    backend = parameters.get("guided_decoding_backend")
    if backend is None:
        return None
    if backend != "xgrammar":
        raise ValueError(f"guided_decoding_backend {backend!r}")
    told = json.loads(Path(parameters["xgrammar_tokenizer_info_path"]).read_text())
    json.loads(told["tokenizer_str"])
    assert all(0 <= stop < len(told["encoded_vocab"]) for stop in told["stop_token_ids"])
    return list(told["encoded_vocab"])


def _tensor(request: Any, name: str) -> Any:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy()


def _scalar(request: Any, name: str) -> Any:
    values = _tensor(request, name)
    return None if values is None else values.flat[0].item()


def _ends(request: Any) -> tuple[int, ...]:
    end_id, words = _scalar(request, "end_id"), _tensor(request, "stop_words_list")
    flat = [] if words is None else [each for each in words.reshape(2, -1)[0].tolist() if each >= 0]
    return (*([] if end_id is None else [end_id]), *flat)


def _die_with(server: int) -> None:
    """The real backend is part of the server's process, and ends with it."""
    die_with(server)
    if "OMPI_COMM_WORLD_RANK" in os.environ:  # mpirun closes the server's lifeline
        # A server that nobody has reaped yet is dead, too, and has no program any more.
        then = f"while [ -e /proc/{server}/exe ]; do sleep 0.1; done; kill -9 {os.getpid()}"
        subprocess.Popen(["/bin/sh", "-c", then], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
