"""Passwords for registries, from where `docker login` and `podman login` leave them, credential helpers included.

https://github.com/docker/cli/blob/master/docs/reference/commandline/login.md,
https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stoker.json_text import parse_json
from stoker.store.remotes.remote import RemoteError

_HELPER_SECONDS = 10.0
_HELPER_NAME = re.compile(r"[A-Za-z0-9._-]+")
_TOKEN_USER = "<token>"  # noqa: S105  what helpers give as the user's name when the secret is an identity token
DOCKER_HUB = "docker.io"
_DOCKER_HUB_NAMES = ("https://index.docker.io/v1/", "index.docker.io", "docker.io")


@dataclass(frozen=True)
class Credentials:
    """A password, or an identity token that the registry's token server exchanges."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


def find_credentials(registry: str, repository: str) -> Credentials | None:
    """Those of the first file that knows the registry. RemoteError where a helper that is named does not answer."""
    for document in _documents():
        if found := _in_document(document, registry, repository):
            return found
    return None


def _documents() -> Iterator[Mapping[str, object]]:
    for path in _files():
        with contextlib.suppress(OSError, ValueError):
            document = parse_json(path.read_bytes())
            if isinstance(document, dict):
                yield document


def _files() -> Iterator[Path]:
    environ = os.environ
    if file := environ.get("REGISTRY_AUTH_FILE"):
        yield Path(file)
    if folder := environ.get("DOCKER_CONFIG"):
        yield Path(folder, "config.json")
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime, "containers/auth.json")
    with contextlib.suppress(RuntimeError):  # a user without a home
        home = Path.home()
        yield home / ".docker/config.json"
        yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config", "containers/auth.json")


def _in_document(document: Mapping[str, object], registry: str, repository: str) -> Credentials | None:
    for name in _names(registry, repository):
        if helper := _part(document, "credHelpers").get(name):
            return _from_helper(str(helper), name)
        entry = _part(document, "auths").get(name)
        if isinstance(entry, dict) and (found := _from_entry(entry)):
            return found
        if isinstance(entry, dict) and document.get("credsStore"):
            return _from_helper(str(document["credsStore"]), name)
    return None


def _part(document: Mapping[str, object], name: str) -> Mapping[str, object]:
    part = document.get(name)
    return part if isinstance(part, dict) else {}


def _names(registry: str, repository: str) -> Iterator[str]:
    """What a registry may be called there, the most specific first: podman keeps some for a repository."""
    if registry == DOCKER_HUB:
        yield from _DOCKER_HUB_NAMES
    parts = [registry, *repository.split("/")]
    for count in range(len(parts), 0, -1):
        yield "/".join(parts[:count])
    yield from (f"{scheme}{registry}{path}" for scheme in ("https://", "http://") for path in ("", "/", "/v1/", "/v2/"))


def _from_entry(entry: Mapping[str, object]) -> Credentials | None:
    if token := entry.get("identitytoken"):
        return Credentials(identity_token=str(token))
    try:
        user, colon, password = base64.b64decode(str(entry.get("auth", "")), validate=True).decode().partition(":")
    except ValueError:
        return None
    if colon:
        return Credentials(user, password.rstrip("\0"))
    return Credentials(str(entry["username"]), str(entry["password"])) if {"username", "password"} <= {*entry} else None


def _from_helper(helper: str, name: str) -> Credentials | None:
    """https://github.com/docker/docker-credential-helpers; None where it knows no such registry."""
    program = f"docker-credential-{helper}"
    if not _HELPER_NAME.fullmatch(helper):
        raise RemoteError(f"{program[:60]} is not the name of a credential helper")
    try:
        answer = subprocess.run(
            [program, "get"], input=name.encode(), capture_output=True, timeout=_HELPER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RemoteError(f"{program}, which docker's configuration names, does not answer: {error}") from error
    try:
        given = parse_json(answer.stdout) if answer.returncode == 0 else {}
        user, secret = str(given["Username"]), str(given["Secret"])
    except (ValueError, KeyError, TypeError):
        return None
    return Credentials(identity_token=secret) if user == _TOKEN_USER else Credentials(user, secret)
