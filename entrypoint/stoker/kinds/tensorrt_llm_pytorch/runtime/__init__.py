"""The runtime of the `tensorrt_llm_pytorch` kind. Runs inside Triton's Python stub, never in the API process."""
