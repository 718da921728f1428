"""What the tools print, as progress: lines of published logs."""

import pytest

from stoker.errors import OutOfMemoryError
from stoker.kinds.tensorrt_llm.build.failure import failed
from stoker.kinds.tensorrt_llm.build.output import MILESTONES, Reader
from stoker.kinds.tensorrt_llm.build.process import Ran

# From TensorRT-LLM's issue 2324 (Gemma-2-9B, 0.13) and its own README of GPT.
BUILD = """\
[TensorRT-LLM] TensorRT-LLM version: 0.13.0
[10/12/2024-15:45:56] [TRT-LLM] [I] Set nccl_plugin to None.
[10/12/2024-15:46:01] [TRT-LLM] [I] Build TensorRT engine Unnamed Network 0
[10/12/2024-15:46:01] [TRT] [W] Unused Input: position_ids
[10/12/2024-15:46:16] [TRT] [I] Engine generation completed in 15.4544 seconds.
[10/12/2024-15:46:16] [TRT] [I] [MemUsageStats] Peak memory usage of TRT CPU/GPU memory allocators: CPU 8 MiB, GPU 19386 MiB
[10/12/2024-15:46:23] [TRT] [I] [MemUsageStats] Peak memory usage during Engine building and serialization: CPU: 40291 MiB
[10/12/2024-15:46:23] [TRT-LLM] [I] Total time of building Unnamed Network 0: 00:00:22
[10/12/2024-15:46:23] [TRT-LLM] [I] Build phase peak memory: 40294.03 MB, children: 16.96 MB
[10/12/2024-15:46:23] [TRT-LLM] [I] Serializing engine to /app/src/../model_repository/tensorrt_llm/1/rank0.engine...
[10/12/2024-15:46:42] [TRT-LLM] [I] Engine serialized. Total time: 00:00:19
[10/12/2024-15:46:43] [TRT-LLM] [I] Total time of building all engines: 00:00:47
""".splitlines()  # noqa: E501
CONVERT = """\
[TensorRT-LLM] TensorRT-LLM version: 0.17.0.post1
0.17.0.post1
370it [00:28, 12.95it/s]
Total time of reading and converting: 28.512 s
Total time of saving checkpoint: 2.117 s
Total time of converting checkpoints: 00:00:31
""".splitlines()


def heard(reader: Reader, lines: list[str]) -> list[tuple[int, str]]:
    return [(reader.done, reader.doing) for line in lines if reader.read(line)]


def test_a_published_build_log_passes_all_milestones():
    reader = Reader("build", 1)
    assert heard(reader, BUILD) == [
        (1, "compiling"), (2, "serialising"), (3, "writing the engine"), (4, "compiling"), (5, "built"),
    ]  # fmt: skip
    assert reader.done == reader.total
    assert reader.figures == {"compile_seconds": [15.4544], "compiler_peak_bytes": 40291 << 20}


def test_the_conversion_of_two_ranks_counts_each():
    reader = Reader("convert", 2)
    heard(reader, CONVERT)
    assert (reader.done, reader.total) == (3, 5)
    assert reader.figures == {}


def test_a_line_too_many_is_not_counted_twice():
    reader = Reader("build", 1)
    heard(reader, BUILD * 2)
    assert reader.done == reader.total


@pytest.mark.parametrize("tool", MILESTONES)
def test_chatter_is_no_progress(tool):
    assert (
        heard(Reader(tool, 1), ["", "Loading checkpoint shards: 100%", "[TRT] [I] Global timing cache in use."]) == []
    )


def ran(code: int, *lines: str) -> Ran:
    found = Ran(code)
    found.lines.extend(lines)
    return found


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (-9, "Loading checkpoint shards"),
        (137, ""),
        (1, "MemoryError"),
        (1, "RuntimeError: [enforce fail at alloc_cpu.cpp:115] DefaultCPUAllocator: can't allocate memory: you tried"),
        (-6, "terminate called after throwing an instance of 'std::bad_alloc'"),
        (1, "A process in the process pool was terminated abruptly while the future was running or pending."),
    ],
)
def test_lack_of_host_memory_is_told_as_such(code, line):
    error = failed("trtllm-build", ran(code, "first", line), False, "40.00 GiB")
    assert isinstance(error, OutOfMemoryError)
    assert "trtllm-build ran out of the host's memory" in str(error)
    assert "40.00 GiB" in error.remedy
    assert line in error.why


def test_a_kill_that_the_kernel_counted_is_lack_of_memory_whatever_the_tool_says():
    assert isinstance(failed("x", ran(1, "Error: a child died"), True, "1 GiB"), OutOfMemoryError)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "ran out of the GPU's memory"),
        ("[TRT] [E] [resizingAllocator.cpp::allocate::74] Error Code 1: Cuda Runtime (out of memory)", "GPU's memory"),
        ("ImportError: libcuda.so.1: cannot open shared object file: No such file or directory", "finds no GPU"),
        ("ValueError: GPTQ with desc_act=True is not implemented!", "failed"),
    ],
)
def test_other_failures_say_what_the_tool_said_last(line, what):
    error = failed("quantize.py", ran(1, "Traceback (most recent call last):", line, "bye"), False, "1 GiB")
    assert not isinstance(error, OutOfMemoryError)
    assert what in error.what
    assert error.why == f"exit code 1: {line}"
