"""Servers of this machine, as commands beside them see them: found, started, asked."""
