"""All that is known here of vLLM's inside, and of how its versions 0.26 to 0.33 differ.

Nothing else imports vllm. One call of `Engine.step` returns what one engine step gave to all sequences: vLLM's own
LLMEngine is only used to put its parts together (configuration, tokenizer, validation, the client of its EngineCore),
since its `step` makes objects and text for each token.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from stoker.json_text import parse_json
from stoker.kinds.vllm.runtime.guard import descendants
from stoker.kinds.vllm.runtime.params import SequenceParams
from stoker.launch import frames
from stoker.launch.frames import PackedScores, PackedTop

SUPPORTED = ("0.26", "0.33")  # the oldest and the newest minor version that this file was read against

# What holds whatever the plan says. The API process tokenizes; ids come in and go out.
_ALWAYS = {"disable_log_stats": False, "trust_remote_code": False, "generation_config": "vllm"}
ENVIRONMENT = {
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # the default, fork, is unsafe where threads run
    "VLLM_ENABLE_V1_MULTIPROCESSING": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
_REASONS = {
    "stop": frames.STOP,
    "length": frames.LENGTH,
    "abort": frames.CANCELLED,
    "error": frames.FAILED,
    "repetition": frames.STOP,
}
_SCHEDULED = 2  # EngineCoreEventType.SCHEDULED
_NOTICED_WITHIN = 0.5  # seconds
_RANK = "VLLM::Worker"  # what a rank's process calls itself, before its number
_GUIDES = {"json_schema": "json", "regex": "regex", "ebnf_grammar": "grammar", "structural_tag": "structural_tag"}


class SettingError(ValueError):
    """A setting that this version of vLLM does not have."""


@dataclass(frozen=True)
class Usage:
    """After a step: requests that run and wait, and the share of the KV cache in use, 0 to 1."""

    running: int
    waiting: int
    kv: float


class Engine:
    """vLLM with one EngineCore process. `step` is for one thread; the others for another, or under a lock."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """`settings`: vLLM's EngineArgs by name. Whatever vLLM raises if the engine cannot be opened."""
        from vllm.v1.engine.llm_engine import LLMEngine

        self._guesses = bool(settings.get("speculative_config"))
        self._whole = LLMEngine.from_engine_args(engine_args(settings), enable_multiprocessing=True)
        self._core = self._whole.engine_core
        self._tasks = self._whole.get_supported_tasks()
        self._usage = Usage(0, 0, 0.0)
        self._adapters: set[int] = set()
        self._ended = ""
        self._watcher = threading.Thread(target=self._watch, name="EngineCore's end", daemon=True)
        self._watcher.start()

    @property
    def facts(self) -> dict[str, Any]:
        """What the engine came to: limits and the size of its KV cache, for logs and tests."""
        import vllm

        config = self._whole.vllm_config
        cache = config.cache_config
        return {
            "vllm": vllm.__version__,
            "max_model_len": config.model_config.max_model_len,
            "max_num_seqs": config.scheduler_config.max_num_seqs,
            "max_num_batched_tokens": config.scheduler_config.max_num_batched_tokens,
            "kv_block_tokens": cache.block_size,
            "kv_blocks": cache.num_gpu_blocks,
            "tasks": list(self._tasks),
            "capture_sizes": list(config.compilation_config.cudagraph_capture_sizes or ()),
        }

    def add(self, request_id: str, ids: Sequence[int], params: SequenceParams, sending: threading.Lock) -> None:
        """ValueError, TypeError or NotImplementedError for a request that vLLM refuses. The id must be a new one.

        `sending` is held while vLLM's socket is used, but not while the request is validated, which takes its time."""
        from vllm.inputs.engine import tokens_input

        if self._guesses:
            _check_beside_guesses(params)
        salt = {"cache_salt": params.cache_salt} if params.cache_salt else {}
        prompt = tokens_input(list(ids), **salt)
        adapter = self._adapter(params)
        request = self._whole.input_processor.process_inputs(
            request_id, prompt, _params(params), self._tasks, lora_request=adapter
        )
        with sending:
            self._core.add_request(request)

    def _adapter(self, params: SequenceParams) -> Any:
        """vLLM's LoRARequest. What is wrong with an adapter is told here: in a step it would end the engine."""
        if params.adapter is None:
            return None
        from vllm.lora.request import LoRARequest

        number, directory = params.adapter
        adapter = LoRARequest(lora_name=f"adapter-{number}", lora_int_id=number, lora_path=directory)
        if self._whole.vllm_config.lora_config is None:
            raise ValueError("the engine takes no adapters: it was planned without --max-loras")
        if number not in self._adapters:
            try:
                self._core.add_lora(adapter)
            except Exception as error:
                raise ValueError(f"vLLM does not take the adapter: {error}") from error
            self._adapters.add(number)
        return adapter

    def abort(self, request_ids: list[str]) -> None:
        self._core.abort_requests(request_ids)

    def _watch(self) -> None:
        """Wakes `step` when an EngineCore or a rank exits. vLLM's synchronous client tidies up after the first, and
        waits for ever; of the second its EngineCore says nothing until it has ended the other ranks, for 9 s."""
        processes = multiprocessing.active_children()
        ranks = _ranks()
        ended = multiprocessing.connection.wait([*ranks, *(process.sentinel for process in processes)])
        for each in processes:
            each.join(0.1)
        names = [f"{each.name} ended with code {each.exitcode}" for each in processes if each.sentinel in ended]
        names += [f"{name} ended" for descriptor, name in ranks.items() if descriptor in ended]
        self._ended = ", ".join(names)
        self._core.outputs_queue.put_nowait(RuntimeError(self._ended))

    def step(self) -> tuple[Sequence[Any], Usage]:
        """Waits for the next step's EngineCoreOutput of each sequence. RuntimeError when the EngineCore has exited."""
        outputs = self._core.get_output()
        stats = outputs.scheduler_stats
        if stats is not None:
            self._usage = Usage(stats.num_running_reqs, stats.num_waiting_reqs, stats.kv_cache_usage)
        return outputs.outputs, self._usage

    def cause(self, error: Exception) -> str:
        """Of what `step` raised: the process that ended, if one did. vLLM itself says to look further up in the log."""
        self._watcher.join(_NOTICED_WITHIN)
        return self._ended or f"{type(error).__name__}: {error}"

    def close(self) -> None:
        self._core.shutdown()


class Ranks:
    """The ranks of one machine that follows another, which steps them."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Returns when they are loaded, which takes those of all machines. Whatever vLLM raises if they cannot be."""
        from vllm.v1.executor.multiproc_executor import MultiprocExecutor

        config = engine_args(settings).create_engine_config(headless=True)
        self._executor = MultiprocExecutor(config, monitor_workers=False)  # kept: its ranks end with it

    @property
    def facts(self) -> dict[str, Any]:
        import vllm

        return {"vllm": vllm.__version__}

    def watch(self) -> None:
        """Until one of them ends. vLLM's own monitor returns when it has ended the others too."""
        multiprocessing.connection.wait([process.sentinel for process in multiprocessing.active_children()])


def _ranks() -> dict[int, str]:
    """The ranks' processes below this one, where they have some of their own: by their pidfds."""
    found = {}
    for pid in descendants():
        with contextlib.suppress(OSError):
            title = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").strip("\0 ")
            if title.startswith(_RANK):
                found[os.pidfd_open(pid)] = title
    return found


def engine_args(settings: dict[str, Any]) -> Any:
    """vLLM's EngineArgs. SettingError that names what it does not know."""
    from vllm.engine.arg_utils import EngineArgs

    known = {field.name for field in fields(EngineArgs)}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise SettingError(f"this vLLM has no setting {', '.join(unknown)}")
    given: dict[str, Any] = {name: value for name, value in _ALWAYS.items() if name in known} | settings
    if "pooler_config" in given:
        from vllm.config import PoolerConfig

        given["pooler_config"] = PoolerConfig(**given["pooler_config"])
    if "speculative_config" in given:
        given["speculative_config"] = _speculative(given["speculative_config"])
    return EngineArgs(**given)


def _speculative(settings: dict[str, Any]) -> dict[str, Any]:
    """Without the schedule by batch size in versions that have none: they guess however many run."""
    from vllm.config.speculative import SpeculativeConfig

    known = {field.name for field in fields(SpeculativeConfig)}
    return {name: value for name, value in settings.items() if name in known}


def _check_beside_guesses(params: SequenceParams) -> None:
    """ValueError for what vLLM passes over, with no more than a warning when it starts."""
    for name, given in (("min_p", params.min_p), ("logit_bias", params.biases)):
        if given:
            raise ValueError(f"{name} is not available: vLLM does not support it together with speculative decoding")


def _params(params: SequenceParams) -> Any:
    if params.task:
        from vllm.pooling_params import PoolingParams

        return PoolingParams(task=params.task, extra_kwargs=_token_types(params))
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    given = {
        "top_p": params.top_p,
        "top_k": params.top_k,
        "min_p": params.min_p,
        "seed": _signed(params.seed),
        "presence_penalty": params.presence_penalty,
        "frequency_penalty": params.frequency_penalty,
        "repetition_penalty": params.repetition_penalty,
        "logprobs": params.told_log_probs,
        "prompt_logprobs": params.prompt_log_probs,
        "logit_bias": params.biases or None,
        "structured_outputs": _structured(params.guide),
    }
    return SamplingParams(
        max_tokens=max(params.max_tokens, 1),  # vLLM always generates; the host drops what nobody asked for
        min_tokens=params.min_tokens,
        temperature=params.temperature,
        stop_token_ids=list(params.end_ids),
        ignore_eos=True,  # ours are told, the model's own among them
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
        **{name: value for name, value in given.items() if value is not None},
    )


def _token_types(params: SequenceParams) -> dict[str, Any] | None:
    if not any(params.token_types):
        return None
    # vLLM wants the place of the second text's first token: its "compressed token type ids"
    return {"compressed_token_type_ids": params.token_types.index(1)}


def _signed(seed: int | None) -> int | None:
    """vLLM's generators take 64 bits with a sign; -1 means no seed to it."""
    if seed is None:
        return None
    seed &= (1 << 63) - 1
    return seed


def _structured(guide: tuple[str, str] | None) -> Any:
    if guide is None:
        return None
    from vllm.sampling_params import StructuredOutputsParams

    kind, text = guide
    if kind == "json":
        return StructuredOutputsParams(json_object=True)
    if kind == "choice":
        return StructuredOutputsParams(choice=parse_json(text))
    if kind not in _GUIDES:
        raise ValueError(f"guided_decoding_guide_type {kind} is not supported")
    return StructuredOutputsParams(**{_GUIDES[kind]: text})


def reason_of(output: Any) -> int:
    """A frame's reason, of an EngineCoreOutput."""
    reason = output.finish_reason
    return frames.RUNNING if reason is None else _REASONS.get(str(reason), frames.FAILED)


def cached_tokens(output: Any) -> int | None:
    """Tokens of the prompt that the prefix cache held; None of an output that does not say."""
    stats = output.prefill_stats
    return None if stats is None else stats.num_cached_tokens


def scheduled_ns(output: Any) -> int | None:
    """When its request was first scheduled, by time.monotonic_ns; None of an output that does not say."""
    for event in output.events or ():
        if event.type == _SCHEDULED:
            return int(event.timestamp * 1e9)
    return None


def log_probs_of(output: Any) -> tuple[list[float], PackedTop | None]:
    """Each new token's log probability, and if there are more the most probable: [k, ids, log probabilities]."""
    ids, values = output.new_logprobs[:2]
    own = values[:, 0].tolist()
    more = ids.shape[1] - 1
    if not more:
        return own, None
    return own, (more, ids[:, 1:].astype("int32").tobytes(), values[:, 1:].astype("float32").tobytes())


def prompt_log_probs_of(output: Any) -> PackedScores | None:
    """Of the prompt's tokens from the second on: [width, ids, log probabilities, ranks] (stoker.launch.frames)."""
    tensors = output.new_prompt_logprobs_tensors
    if tensors is None:
        return None
    ids, values, ranks = (each.numpy() for each in (tensors[0].int(), tensors[1].float(), tensors[2].int()))
    return ids.shape[1], ids.tobytes(), values.tobytes(), ranks.tobytes()


def embedding_of(output: Any) -> bytes | None:
    """f32 bytes of a pooling model's output."""
    pooled = output.pooling_output
    return None if pooled is None else bytes(pooled.float().reshape(-1).numpy().tobytes())


def prepare_environment(environment: dict[str, str]) -> None:
    """Before vLLM is imported the first time: it reads its variables then."""
    os.environ.update({**ENVIRONMENT, **environment})
