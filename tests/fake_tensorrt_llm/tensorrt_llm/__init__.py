"""Stands in for the Python package of TensorRT-LLM 1.2, which needs an NVIDIA GPU: its LLM API and its executor.

Made from the published interface (LLM API reference, tensorrt_llm.bindings.executor): names, defaults, what is refused
and when, what a result holds at each step, that a result belongs to the event loop it was made in, that ranks are
processes which run the parent's main module again. Anything that the interface does not list is refused. The tokens
are arithmetic on the prompt.

    FAKE_TENSORRT_LLM_STEP   seconds that a step takes (0.002)
    FAKE_TENSORRT_LLM_LOG    a file that gets a line of JSON for each LLM, executor, rank, request and abort
"""

from tensorrt_llm.llmapi import LLM, SamplingParams

__version__ = "1.2.1"
__all__ = ["LLM", "SamplingParams", "__version__"]
