"""tensorrt_llm.bindings: only the executor's part of it."""
