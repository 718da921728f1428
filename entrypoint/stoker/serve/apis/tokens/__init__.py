"""vLLM's token route, /inference/v1/generate: token ids in, token ids out, for who tokenizes by himself."""
