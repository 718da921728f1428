"""Stoker's version; the wheel and the images take theirs from here."""

__version__ = "0.1.0"
