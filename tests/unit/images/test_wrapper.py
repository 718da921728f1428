"""images/stoker, what the images run."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from stoker.cli import split_command

IMAGES = Path(__file__).resolve().parents[3] / "images"
DOCKERFILES = sorted(IMAGES.glob("*/Dockerfile"))


def ran(tmp_path: Path, name: str, *arguments: str, **environ: str) -> list[str]:
    """What the init is given to run, and the cache that it sees."""
    (tmp_path / "tini").write_text('#!/bin/sh\nprintf "%s\\n" "$@" "cache=$STOKER_CACHE"\n')
    (tmp_path / "tini").chmod(0o755)
    (tmp_path / name).symlink_to(IMAGES / "stoker")
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **environ}
    done = subprocess.run(["sh", tmp_path / name, *arguments], env=environ, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("name", "arguments", "given"),
    [
        ("stoker", ("serve",), ["serve"]),
        ("stoker", ("org/name", "a b"), ["org/name", "a b"]),
        ("download-to-cache", ("--model-uri", "hf://a/b"), ["download-to-cache", "--model-uri", "hf://a/b"]),
        ("list-model-profiles", (), ["list-model-profiles"]),
    ],
)
def test_its_name_is_the_command(tmp_path: Path, name: str, arguments: tuple[str, ...], given: list[str]) -> None:
    assert ran(tmp_path, name, *arguments)[3:-1] == given


@pytest.mark.parametrize(
    ("environ", "cache"),
    [
        ({}, "/cache"),
        ({"STOKER_CACHE": "/mine"}, "/mine"),
        ({"NIM_CACHE_PATH": "/model-store"}, ""),
        ({"NIM_CACHE_PATH": "/model-store", "STOKER_CACHE": "/mine"}, "/mine"),
    ],
)
def test_the_volume_is_the_cache_unless_another_is_named(tmp_path: Path, environ: dict[str, str], cache: str) -> None:
    assert ran(tmp_path, "stoker", "serve", **environ)[-1] == f"cache={cache}"


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=[path.parent.name for path in DOCKERFILES])
def test_every_name_in_the_images_is_a_command(dockerfile: Path) -> None:
    said = re.search(r"RUN for name in (.*?); do ln -s stoker", dockerfile.read_text(), re.DOTALL)
    assert said
    names = said[1].replace("\\\n", " ").split()
    assert "download-to-cache" in names
    for name in names:
        command, rest = split_command([name, "x"])
        assert rest == ["x"], name
        assert command != name or "-" in name
