"""Names of the files in an engine's directory, for the builder and the runtime."""

ARGUMENTS = "llm.json"
CHECKPOINT = "checkpoint"
