"""What a model's name may be: `demo`, a directory, or a Hugging Face repository."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from stoker.errors import UsageError
from stoker.resolve.known_names import probably_meant

FORMS = "a model is `demo`, a directory (./name), or a Hugging Face repository (org/name, org/name@revision)"
DEFAULT_REVISION = "main"
DEMOS = ("demo", "demo-draft", "demo-eagle3")

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_REPOSITORY = re.compile(rf"(?P<id>{_PART}/{_PART})(?:@(?P<revision>[A-Za-z0-9][A-Za-z0-9._/+-]{{0,254}}))?")
_LOCAL_PREFIXES = ("/", "./", "../", "~")


@dataclass(frozen=True)
class Demo:
    """The small model inside the package, or what guesses its tokens; `name` is what it is asked for by."""

    name: str = "demo"


@dataclass(frozen=True)
class LocalDirectory:
    path: Path


@dataclass(frozen=True)
class HubRepository:
    """`revision` is a branch, a tag or a commit."""

    id: str
    revision: str = DEFAULT_REVISION


Reference = Demo | LocalDirectory | HubRepository


def parse_reference(text: str) -> Reference:
    """Raises UsageError that names the nearest right form."""
    name = text.strip()
    if not name:
        raise UsageError("no model was named", remedy=FORMS)
    if name in DEMOS:
        return Demo(name)
    if name.startswith("hf://"):
        return _hub_repository(name.removeprefix("hf://"), text)
    if name in (".", "..") or name.startswith(_LOCAL_PREFIXES) or Path(name).exists():
        return LocalDirectory(_expand_home(name))
    return _hub_repository(name, text)


def _expand_home(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{name!r} names no directory", why=str(error), remedy=FORMS) from error


def _hub_repository(name: str, text: str) -> HubRepository:
    match = _REPOSITORY.fullmatch(name)
    if match is None or ".." in name or "--" in match["id"] or match["id"].endswith(".git"):
        raise UsageError(f"{text!r} is not a model reference", why=_nearest_form(name), remedy=FORMS)
    return HubRepository(match["id"], match["revision"] or DEFAULT_REVISION)


def _nearest_form(name: str) -> str:
    if "://" in name:
        return _nearest_form_of_url(name)
    if "/" not in name:
        demo = "`demo`, " if difflib.get_close_matches(name.lower(), ["demo"]) else ""
        if not demo and (near := probably_meant(name)):
            return f"did you mean `{near}`?"
        return f"did you mean {demo}`org/{name}` on the Hugging Face Hub or the directory `./{name}`?"
    shorter = "/".join(name.split("/")[:2])
    if name.count("/") > 1 and _REPOSITORY.fullmatch(shorter):
        return f"did you mean the repository `{shorter}` or the directory `./{name}`?"
    return f"a repository is org/name in letters, digits and . _ -; a directory would be `./{name}`"


def _nearest_form_of_url(url: str) -> str:
    """Turns a page of the hub, such as https://huggingface.co/org/name/tree/v1, into org/name@v1."""
    split = urlsplit(url)
    parts = [part for part in split.path.split("/") if part]
    if split.scheme not in ("http", "https") or len(parts) < 2:
        return f"{split.scheme}:// is not one of the places models are read from"
    revision = f"@{parts[3]}" if len(parts) > 3 and parts[2] in ("tree", "blob", "resolve") else ""
    return f"did you mean `{parts[0]}/{parts[1]}{revision}`?"
