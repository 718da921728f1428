"""The runtimes of the `torch` engine kind. Run inside Triton's Python stub, never in the API process."""
