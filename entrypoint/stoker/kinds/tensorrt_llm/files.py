"""Names of the files in an engine's directory, for the builder and the runtimes."""

ENGINE = "engine"
"""The folder with rankN.engine and TensorRT-LLM's config.json."""
VOCABULARY = "xgrammar_tokenizer_info.json"
