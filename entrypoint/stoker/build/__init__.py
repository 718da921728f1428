"""Runs an engine kind's builder in a child process, within the host's memory and disk."""
