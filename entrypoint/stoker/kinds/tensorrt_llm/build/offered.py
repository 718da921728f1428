"""A model's directory as TensorRT-LLM's tools are given it, whose transformers does not read every config.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from stoker.build.companions import sync
from stoker.plan.types import Chosen
from stoker.resolve.json_files import read_json
from stoker.resolve.model import Model
from stoker.resolve.older_form import in_older_form

_CONFIG = "config.json"


def offer(directory: Path, target: Path) -> None:
    """Makes `target` a link to the directory or, where its config.json must be put differently, a folder of links with
    that config.json."""
    config = read_json(directory / _CONFIG)
    if in_older_form(config) is config:
        target.symlink_to(directory)
        return
    target.mkdir()
    for each in directory.iterdir():
        (target / each.name).symlink_to(each.resolve())
    put_older_form(target)


def form_in_key(model: Model, _: Chosen) -> Mapping[str, object]:
    """What of an engine's key says that config.json was put differently, and how; nothing where it was not."""
    older = in_older_form(model.config)
    if older is model.config:
        return {}
    return {"config": hashlib.sha256(json.dumps(older, sort_keys=True).encode()).hexdigest()}


def put_older_form(directory: Path) -> None:
    """Replaces a config.json that must be put differently; the target of a link is left unchanged."""
    path = directory / _CONFIG
    if not path.is_file():
        return
    config = read_json(path)
    older = in_older_form(config)
    if older is not config:
        path.unlink()
        path.write_text(json.dumps(older, indent=1))
        sync(path)
