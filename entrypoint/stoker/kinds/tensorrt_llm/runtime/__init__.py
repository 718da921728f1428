"""Serving what TensorRT-LLM compiled, by Triton's C++ backend `tensorrtllm`."""
