"""Generation without a server: an engine's own runtime in a child process, texts in and texts out."""
