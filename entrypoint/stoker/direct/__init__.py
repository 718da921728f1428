"""Generation without a server: an engine's runtime in a child process."""
