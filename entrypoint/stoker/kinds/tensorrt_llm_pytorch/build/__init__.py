"""Engines of the kind `tensorrt_llm_pytorch`: nothing is compiled, the checkpoint is loaded as it is."""
