"""tensorrt_llm.executor, beside the bindings."""
