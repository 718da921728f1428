"""Ollama's API: its requests become those of the core, its answers are JSON lines."""
