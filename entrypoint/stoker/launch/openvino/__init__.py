"""The Triton model of the `openvino` engine kind. Runs inside Triton's Python stub, never in the API process."""
