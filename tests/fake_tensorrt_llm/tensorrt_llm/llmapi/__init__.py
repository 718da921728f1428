"""tensorrt_llm.llmapi: LLM and what goes in and out of it."""

from tensorrt_llm.llmapi.llm import LLM, CompletionOutput, Logprob, RequestError, RequestOutput
from tensorrt_llm.llmapi.parameters import GuidedDecodingParams, KvCacheConfig, SamplingParams

__all__ = [
    "LLM",
    "CompletionOutput",
    "GuidedDecodingParams",
    "KvCacheConfig",
    "Logprob",
    "RequestError",
    "RequestOutput",
    "SamplingParams",
]
