"""Stoker's version: that of the git tag, which is written beside this file when Stoker is built or installed."""

from __future__ import annotations

from pathlib import Path

_FILE = Path(__file__).with_name("version.txt")
NEVER_BUILT = "0.0.0"
"""In a checkout that nobody installed."""

__version__ = _FILE.read_text(encoding="utf-8").strip() if _FILE.is_file() else NEVER_BUILT
