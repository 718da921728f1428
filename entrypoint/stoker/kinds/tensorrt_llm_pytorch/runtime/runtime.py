"""TensorRT-LLM's PyTorch backend, `tensorrt_llm.LLM`, as a runtime of the engine loop.

The LLM batches in flight in processes of its own and gives out asynchronous results. An event loop in a thread follows
them; a step of ours is to wait until one of them has moved.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import threading
from collections import deque
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from stoker.errors import EngineError
from stoker.event_loop import call_in_loop
from stoker.json_text import parse_json
from stoker.kinds.tensorrt_llm.runtime.sampling import with_end
from stoker.kinds.tensorrt_llm_pytorch.files import ARGUMENTS, CHECKPOINT
from stoker.kinds.tensorrt_llm_pytorch.runtime.sampling import guide_arguments, sampling_arguments
from stoker.launch.generation import Adapter, Generation, RequestRefusedError
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.runtime import Output

WAIT_SECONDS = 0.01  # for an output; then new requests and cancelled ones have their turn

T = TypeVar("T")


class LlmSequence:
    """What `follow`, in the event loop's thread, hears of a result is left for `read`, in the engine loop's."""

    def __init__(self, generation: Generation, runtime: LlmRuntime) -> None:
        self._generation = generation
        self._runtime = runtime
        self._outputs: deque[Output] = deque()
        self._seen = 0
        self.result: Any = None

    def read(self) -> Output:
        ids: list[int] = []
        log_probs: list[float] = []
        last = Output((), ())
        while self._outputs:
            last = self._outputs.popleft()
            ids += last.ids
            log_probs += last.log_probs
        return Output(ids, log_probs, last.ended, refused=last.refused, reused_blocks=last.reused_blocks)

    def cancel(self) -> None:
        self._runtime.abort(self.result)

    async def follow(self) -> None:
        refusal, news = self._runtime.refusal, self._runtime.news
        try:
            async for step in self.result:
                self._outputs.append(self._gained(step.outputs[0], step.finished))
                news.set()
        except refusal as error:
            self._outputs.append(Output((), (), ended=True, refused=str(error)))
            news.set()
        except Exception as error:  # whatever else it raises, it raises for everybody
            self._runtime.broken = error
            news.set()

    def _gained(self, completion: Any, finished: bool) -> Output:
        """`token_ids` and `logprobs` are those of the whole sequence so far."""
        ids = list(completion.token_ids[self._seen :])
        log_probs = self._log_probs(completion, ids) if self._generation.log_probs else []
        self._seen += len(ids)
        if finished and completion.finish_reason == "stop":
            reason = completion.stop_reason
            with_end(self._generation, ids, log_probs, reason if isinstance(reason, int) else None)
        metrics = completion.request_perf_metrics if finished else None
        reused = None if metrics is None else int(metrics.kv_cache_metrics.num_reused_blocks)
        return Output(ids, log_probs, finished, reused_blocks=reused)

    def _log_probs(self, completion: Any, ids: list[int]) -> list[float]:
        entries = completion.logprobs[self._seen : self._seen + len(ids)]
        return [float(entry[token].logprob) for entry, token in zip(entries, ids, strict=True)]


class LlmRuntime:
    """`refusal` is TensorRT-LLM's error for a single request; `broken` what ended the runtime for all."""

    def __init__(self, settings: EngineSettings) -> None:
        self.news = threading.Event()
        self.broken: Exception | None = None
        # Takes over ten seconds, and starts MPI.
        self._module: Any = importlib.import_module("tensorrt_llm")
        self._api: Any = importlib.import_module("tensorrt_llm.llmapi")
        self.refusal: type[Exception] = self._api.RequestError
        self._longest = settings.chosen.max_seq_len
        self._adapters = settings.chosen.max_loras
        self._llm: Any = self._module.LLM(**_arguments(settings, self._api))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="results", daemon=True)
        self._thread.start()
        self._following: set[asyncio.Task[None]] = set()

    def add(self, generation: Generation) -> LlmSequence:
        if len(generation.input_ids) >= self._longest:
            raise RequestRefusedError(
                f"the prompt of {len(generation.input_ids)} tokens is too long",
                why=f"prompt and answer together may have {self._longest}",
            )
        sequence = LlmSequence(generation, self)
        try:
            self._in_loop(self._begin(sequence, generation))
        except RequestRefusedError:
            raise
        except (self.refusal, TypeError, ValueError) as error:
            raise RequestRefusedError("the engine refused the request", why=str(error)) from error
        except Exception as error:  # the next step says so, to everybody
            self.broken = error
        return sequence

    async def _begin(self, sequence: LlmSequence, generation: Generation) -> None:
        """In the event loop, since a result belongs to the loop that it was made in."""
        guide = self._api.GuidedDecodingParams(**guide_arguments(generation.guide)) if generation.guide else None
        sampling = self._module.SamplingParams(
            **sampling_arguments(generation), guided_decoding=guide, embedding_bias=_bias(generation)
        )
        ids = [int(token) for token in generation.input_ids]
        adapter = self._lora(generation.adapter)
        sequence.result = self._llm.generate_async(
            ids, sampling_params=sampling, streaming=True, **({"lora_request": adapter} if adapter else {})
        )
        task = asyncio.ensure_future(sequence.follow())
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    def _lora(self, adapter: Adapter | None) -> Any:
        """TensorRT-LLM's LoRARequest: it reads the directory when its cache lacks the adapter."""
        if adapter is None:
            return None
        if not self._adapters:
            raise RequestRefusedError("the engine takes no adapters", why="it was planned without --max-loras")
        request = importlib.import_module("tensorrt_llm.executor.request")
        return request.LoRARequest(f"adapter-{adapter.number}", adapter.number, adapter.directory)

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def abort(self, result: Any) -> None:
        if result is not None:
            call_in_loop(self._loop, result.abort)

    def step(self) -> bool:
        moved = self.news.wait(WAIT_SECONDS)
        self.news.clear()
        if self.broken is not None:
            raise EngineError("TensorRT-LLM failed", why=str(self.broken)) from self.broken
        return moved

    def close(self) -> None:
        """Ends the LLM's processes, so that the next one finds the GPUs free. A broken one may not end well."""
        with contextlib.suppress(Exception):
            self._llm.shutdown()
        self._loop.call_soon_threadsafe(self._end_following)
        self._thread.join()
        self._loop.close()

    def _end_following(self) -> None:
        for task in self._following:
            task.cancel()
        self._loop.call_soon(self._loop.stop)


def _bias(generation: Generation) -> Any:
    """A tensor of the logits' size."""
    if generation.embedding_bias is None:
        return None
    torch: Any = importlib.import_module("torch")
    return torch.tensor(generation.embedding_bias.tolist())


def _arguments(settings: EngineSettings, api: Any) -> dict[str, Any]:
    directory = Path(settings.engine_directory)
    arguments: dict[str, Any] = parse_json((directory / ARGUMENTS).read_text())
    size = {"max_tokens": settings.kv.tokens, "tokens_per_block": settings.kv.block_tokens}
    cache = {**arguments.pop("kv_cache_config"), **size}
    checkpoint = str(directory / CHECKPOINT)
    if lora := arguments.pop("lora_config", None):
        arguments["lora_config"] = importlib.import_module("tensorrt_llm.lora_helper").LoraConfig(**lora)
    return {
        **arguments,
        "return_perf_metrics": True,  # for those requests that ask for them
        "model": checkpoint,
        "tokenizer": checkpoint,  # for guided decoding, which needs its vocabulary
        "kv_cache_config": api.KvCacheConfig(**cache),
    }
