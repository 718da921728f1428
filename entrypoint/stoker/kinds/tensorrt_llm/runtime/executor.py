"""TensorRT-LLM's own runtime for compiled engines, without a server: its executor, as the direct API runs it.

Names: `tensorrt_llm.bindings.executor`, 1.2; ModelRunnerCpp is a wrapper around the same. Ranks other than the first
never come back from opening it: they belong to its leader.
"""

from __future__ import annotations

import importlib
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

from stoker.json_text import parse_json
from stoker.kinds.tensorrt_llm.files import ENGINE
from stoker.kinds.tensorrt_llm.runtime.sampling import sampling_values, with_end
from stoker.launch.generation import Generation, RequestRefusedError
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.runtime import Output

_WAIT = timedelta(milliseconds=10)  # for responses; then new prompts and cancelled ones have their turn
_FREE_FRACTION = 0.95  # the second limit of the cache, should less be free than planned


class ExecutorSequence:
    def __init__(self, runtime: ExecutorRuntime, number: int, generation: Generation) -> None:
        self._runtime, self._number, self._generation = runtime, number, generation
        self._output = Output((), ())

    def read(self) -> Output:
        output, self._output = self._output, Output((), ())
        return output

    def cancel(self) -> None:
        self._runtime.cancel(self._number)

    def take(self, response: Any, stopped: tuple[Any, ...]) -> bool:
        """Whether it was the last. `stopped` are the reasons that stand for an end id."""
        if response.has_error():
            self._output = Output((), (), ended=True, refused=response.error_msg)
            return True
        result = response.result
        ids = [*self._output.ids, *result.output_token_ids[0]]
        log_probs = list(self._output.log_probs)
        if self._generation.log_probs and result.log_probs is not None:
            new = len(result.output_token_ids[0])
            log_probs += result.log_probs[0][-new:] if new else []
        if result.is_final and result.finish_reasons[0] in stopped:
            with_end(self._generation, ids, log_probs, None)
        self._output = Output(ids, log_probs, result.is_final)
        return bool(result.is_final)


class ExecutorRuntime:
    def __init__(self, settings: EngineSettings) -> None:
        # Takes over ten seconds, and starts MPI.
        self._api: Any = importlib.import_module("tensorrt_llm.bindings.executor")
        directory = Path(settings.engine_directory) / ENGINE
        config = _config(settings, directory, self._api)
        self._executor: Any = self._api.Executor(directory, self._api.ModelType.DECODER_ONLY, config)
        self._stopped = (self._api.FinishReason.END_ID, self._api.FinishReason.STOP_WORDS)
        self._running: dict[int, ExecutorSequence] = {}
        if not self._executor.can_enqueue_requests():
            threading.Event().wait()

    def add(self, generation: Generation) -> ExecutorSequence:
        if generation.adapter is not None:
            why = (
                "a compiled engine takes adapters from Stoker's server only, which sends them when its cache lacks them"
            )
            raise RequestRefusedError("no adapters without a server", why=why, remedy="use `stoker serve`")
        try:
            number = self._executor.enqueue_request(self._request(generation))
        except (RuntimeError, TypeError, ValueError) as error:
            raise RequestRefusedError("the engine refused the request", why=str(error)) from error
        self._running[number] = sequence = ExecutorSequence(self, number, generation)
        return sequence

    def _request(self, generation: Generation) -> Any:
        """Without an end, one that there is not."""
        api, ends = self._api, generation.end_ids
        return api.Request(
            input_token_ids=[int(token) for token in generation.input_ids],
            max_tokens=generation.max_tokens,
            streaming=True,
            sampling_config=api.SamplingConfig(beam_width=1, **sampling_values(generation)),
            output_config=api.OutputConfig(return_log_probs=generation.log_probs, exclude_input_from_output=True),
            end_id=ends[0] if ends else -1,
            pad_id=ends[0] if ends else 0,
            stop_words=[[token] for token in ends[1:]] or None,
        )

    def cancel(self, number: int) -> None:
        if self._running.pop(number, None) is not None:
            self._executor.cancel_request(number)

    def step(self) -> bool:
        responses = self._executor.await_responses(timeout=_WAIT)
        for response in responses:
            sequence = self._running.get(response.request_id)
            if sequence is not None and sequence.take(response, self._stopped):
                del self._running[response.request_id]
        return bool(responses)

    def close(self) -> None:
        self._executor.shutdown()


def _config(settings: EngineSettings, directory: Path, api: Any) -> Any:
    """Reuse and chunks need paged context attention: the engine's own config.json says whether it was built with it."""
    build = parse_json((directory / "config.json").read_text()).get("build_config", {})
    paged = bool(build.get("plugin_config", {}).get("use_paged_context_fmha"))
    cache = api.KvCacheConfig(
        enable_block_reuse=paged,
        max_tokens=settings.kv.tokens,
        free_gpu_memory_fraction=_FREE_FRACTION,
    )
    return api.ExecutorConfig(
        max_beam_width=1, kv_cache_config=cache, enable_chunked_context=paged, normalize_log_probs=False
    )
