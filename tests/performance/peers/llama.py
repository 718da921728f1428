"""llama.cpp, driven through llama-cpp-python's bindings of its C API: `python llama.py MODEL.gguf THREADS`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import islice

import llama_cpp
import numpy as np
from loop import serve

MOST_TOKENS, MOST_STREAMS, STEP = 16_384, 32, 2048


@llama_cpp.llama_log_callback
def silent(_level: int, _text: bytes, _data: object) -> None:
    """For one line a tensor."""


path, threads = sys.argv[1], int(sys.argv[2])
llama_cpp.llama_log_set(silent, None)
llama_cpp.llama_backend_init()
model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
parameters = llama_cpp.llama_context_default_params()
parameters.n_ctx, parameters.n_batch, parameters.n_ubatch = MOST_TOKENS, STEP, 512
parameters.n_seq_max = MOST_STREAMS
parameters.kv_unified = True
parameters.n_threads = parameters.n_threads_batch = threads
context = llama_cpp.llama_init_from_model(model, parameters)
vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
batch = llama_cpp.llama_batch_init(STEP, 0, 1)


def generate(prompts: Sequence[Sequence[int]], new: int) -> None:
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    nexts = _read(prompts)
    for place in range(1, new):
        rows = [(token, len(prompts[stream]) + place - 1, stream, True) for stream, token in nexts.items()]
        nexts = _step(rows)


def _read(prompts: Sequence[Sequence[int]]) -> dict[int, int]:
    """The first token of each."""
    rows: Iterator[tuple[int, int, int, bool]] = (
        (token, place, stream, place == len(prompt) - 1)
        for stream, prompt in enumerate(prompts)
        for place, token in enumerate(prompt)
    )
    found: dict[int, int] = {}
    while step := list(islice(rows, STEP)):
        found |= _step(step)
    return found


def _step(rows: Sequence[tuple[int, int, int, bool]]) -> dict[int, int]:
    batch.n_tokens = len(rows)
    for place, (token, position, stream, wanted) in enumerate(rows):
        batch.token[place], batch.pos[place], batch.logits[place] = token, position, wanted
        batch.n_seq_id[place] = 1
        batch.seq_id[place][0] = stream
    if llama_cpp.llama_decode(context, batch):
        raise SystemExit("llama_decode failed")
    return {row[2]: _likeliest(place) for place, row in enumerate(rows) if row[3]}


def _likeliest(place: int) -> int:
    logits = llama_cpp.llama_get_logits_ith(context, place)
    return int(np.ctypeslib.as_array(logits, (vocabulary,)).argmax())


serve(generate, {"version": f"llama-cpp-python {llama_cpp.__version__}"})
