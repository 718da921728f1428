"""The usual runtime: transformers' continuous batching, with its paged cache and prefix sharing."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

from transformers import ContinuousBatchingConfig, GenerationConfig

from stoker.kinds.torch.runtime.sampling import SCALE, options_of, processors
from stoker.launch.generation import Generation, RequestRefusedError
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.runtime import Output

_POLL_SECONDS = 0.01  # for how long a new or a cancelled request may wait to be told to an engine amid its step
_NO_END = -1
_STOP_SECONDS = 10
_FIELDS = frozenset(field.name for field in dataclasses.fields(ContinuousBatchingConfig))


class PagedSequence:
    """`request_id` is the manager's; results come in whole, of which the first `_read` have been read."""

    def __init__(self, manager: Any, request_id: str) -> None:
        self.request_id = request_id
        self.result: Any = None
        self._manager = manager
        self._read = 0

    def read(self) -> Output:
        result = self.result
        if result is None:
            return Output((), ())
        ids, log_probs = result.generated_tokens[self._read :], result.logprobs[self._read :]
        self._read += len(ids)
        return Output(ids, [SCALE * value for value in log_probs], ended=result.is_finished())

    def cancel(self) -> None:
        self._manager.cancel_request(self.request_id)


class PagedRuntime:
    """The manager steps in a thread of its own; this hands requests over and takes results back."""

    def __init__(self, model: Any, settings: EngineSettings) -> None:
        self._numbers = itertools.count()
        self._capacity = settings.capacity
        self._running: dict[str, PagedSequence] = {}
        self._steps = 0
        self._manager = open_manager(model, settings)
        self._manager.start()

    def add(self, generation: Generation) -> PagedSequence:
        if len(generation.input_ids) >= self._capacity:
            raise RequestRefusedError(
                f"the prompt of {len(generation.input_ids)} tokens is too long",
                why=f"prompt and answer together may have {self._capacity}",
            )
        sequence = PagedSequence(self._manager, f"{next(self._numbers)}")
        self._running[sequence.request_id] = sequence
        self._manager.add_request(
            [int(token) for token in generation.input_ids],
            request_id=sequence.request_id,
            max_new_tokens=min(generation.max_tokens, self._capacity - len(generation.input_ids)),
            streaming=True,
            eos_token_id=list(generation.end_ids) or _NO_END,
            **options_of(generation),
        )
        return sequence

    def step(self) -> bool:
        """Takes what has come; RuntimeError where the manager failed."""
        result = self._manager.get_result(timeout=_POLL_SECONDS)
        error = self._manager.background_thread_status.fatal_error
        if result is None and (error or not self._manager.is_running()):
            raise RuntimeError(f"continuous batching has ended: {error}")
        moved = result is not None
        while result is not None:
            self._take(result)
            result = self._manager.get_result(timeout=0)
        return self._stepped() or moved

    def _take(self, result: Any) -> None:
        if result.error is not None:
            raise RuntimeError(result.error)
        if sequence := self._running.get(result.request_id):
            sequence.result = result
            if result.is_finished():
                del self._running[result.request_id]

    def _stepped(self) -> bool:
        """Whether the manager has been through another batch, of a prompt's pieces perhaps, which give no result."""
        before, self._steps = self._steps, getattr(self._manager, "current_batch", 0)
        return self._steps != before

    def close(self) -> None:
        self._manager.stop(block=True, timeout=_STOP_SECONDS, hard_stop=True)
        self._running.clear()


def open_manager(model: Any, settings: EngineSettings) -> Any:
    """Not started yet. In a process group each rank has one."""
    graphs = bool(settings.chosen.devices) and "flash" in model.config._attn_implementation
    graphs = graphs and not settings.chosen.max_loras  # a graph would keep the adapter that it was captured with
    if "auto_switch_to_flash" not in _FIELDS and "flash" not in model.config._attn_implementation:
        # Before it could be told not to, the manager looked for flash attention on the hub.
        model.set_attn_implementation(f"paged|{model.config._attn_implementation.removeprefix('paged|')}")
    manager = model.init_continuous_batching(
        generation_config=GenerationConfig(do_sample=False, eos_token_id=_NO_END),
        continuous_batching_config=ContinuousBatchingConfig(**_limits(settings), use_cuda_graph=graphs),
    )
    manager.logit_processor = processors(graphs)
    return manager


def _limits(settings: EngineSettings) -> Mapping[str, object]:
    """The plan's, so that nothing is left to the library's view of what memory is free."""
    page = "page_size" if "page_size" in _FIELDS else "block_size"
    switch = {"auto_switch_to_flash": False} if "auto_switch_to_flash" in _FIELDS else {}
    return {
        page: settings.kv.block_tokens,
        "num_blocks": settings.kv.blocks,
        "max_batch_tokens": settings.chosen.max_num_tokens,
        "max_requests_per_batch": settings.chosen.max_batch_size,
        "max_memory_percent": 1.0,
        "return_logprobs": True,
        "allow_block_sharing": not settings.chosen.max_loras,  # blocks are found by their ids, whatever made them
        **switch,
    }
