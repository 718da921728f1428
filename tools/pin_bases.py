"""Writes images/bases.lock: the digest that each Dockerfile's base has at its registry today, for `images/build`.

    python tools/pin_bases.py

By our own registry client, with the passwords of `docker login`. A base whose registry does not answer keeps its line.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from stoker.store.remotes.docker_credentials import DOCKER_HUB
from stoker.store.remotes.registry import Registry
from stoker.store.remotes.remote import RemoteError

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "images" / "bases.lock"
_BASE = re.compile(r"^ARG BASE=(\S+)$", re.MULTILINE)
_HEAD = "# The bases of the images by digest, for `images/build`; written by tools/pin_bases.py.\n"


def main(dockerfiles: list[Path], lock: Path = LOCK) -> int:
    """1 where a base has no line."""
    known = read(lock)
    bases = sorted({base for file in dockerfiles for base in _BASE.findall(file.read_text())})
    for base in bases:
        try:
            known[base] = digest_of(base)
        except RemoteError as error:
            print(f"{base}: {error}", file=sys.stderr)
    lines = [f"{base} {known[base]}\n" for base in bases if base in known]
    if lines:
        lock.write_text(_HEAD + "".join(lines))
    return 0 if len(lines) == len(bases) else 1


def read(lock: Path) -> dict[str, str]:
    lines = lock.read_text().splitlines() if lock.exists() else []
    return dict(line.split() for line in lines if line and not line.startswith("#"))


def digest_of(base: str) -> str:
    """Of all platforms together. RemoteError."""
    host, repository, tag = parsed(base)
    digest = Registry(host, repository).index_digest(tag)
    if digest is None:
        raise RemoteError(f"{host} has no {repository}:{tag}")
    return digest


def parsed(base: str) -> tuple[str, str, str]:
    """Registry, repository and tag, as docker reads an image's name."""
    first, _, rest = base.partition("/")
    host, name = (first, rest) if rest and re.search(r"[.:]|^localhost$", first) else (DOCKER_HUB, base)
    repository, _, tag = name.partition(":")
    return host, repository, tag or "latest"


if __name__ == "__main__":
    sys.exit(main(sorted(ROOT.glob("images/*/Dockerfile"))))
