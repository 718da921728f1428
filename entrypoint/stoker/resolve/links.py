"""Links that lead out of a model's or an engine's directory.

Whoever made the directory could have any file of this machine read by them, and shown by way of the tokenizer, or
pushed to a remote with the engine.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stoker.errors import ModelError


def check_links(directory: Path, names: Iterable[str]) -> None:
    """ModelError for a file of the directory whose contents are elsewhere. The Hugging Face cache's own blobs, which
    the files of its snapshots are links to, are not elsewhere."""
    home = directory.resolve()
    blobs = home.parent.parent / "blobs" if home.parent.name == "snapshots" else home
    for name in sorted(names):
        target = (directory / name).resolve()
        if not target.is_relative_to(home) and target.parent != blobs:
            raise ModelError(
                f"{directory / name} is a link out of its directory",
                why=f"it leads to {target}",
                remedy="put the file itself there, or name the directory that it is in",
            )
