"""Stoker: from a model name to a tuned, served OpenAI API in one command."""

__version__ = "0.1.0"
