"""Engines compiled by TensorRT-LLM's own tools: convert or quantise the checkpoint, then `trtllm-build`."""
