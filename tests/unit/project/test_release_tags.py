"""What a git tag releases, and what the release workflow pushes for it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.loading import load

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "tools" / "release_tag.py"
TOOL = load("stoker_release_tag", SCRIPT)
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
PATTERNS = WORKFLOW[True]["push"]["tags"]  # YAML reads `on` as a truth value
TAGS = ["v0.9.0", "v1.1.0", "v1.2.2", "v1.2.3", "v1.3.0-rc1", "v1.3.0-rc2", "v1.10.0", "v2.0.0-rc1", "nightly"]
"""A repository's, the one that is released among them."""


@pytest.mark.parametrize(
    ("tag", "version", "semantic"),
    [
        ("v1.2.3", "1.2.3", "1.2.3"),
        ("v1.2.3-rc1", "1.2.3rc1", "1.2.3-rc1"),
        ("v0.10.0-rc12", "0.10.0rc12", "0.10.0-rc12"),
    ],
)
def test_a_version_has_the_form_that_its_reader_takes(tag: str, version: str, semantic: str) -> None:
    release = TOOL.parse(tag)
    assert (release.version, release.semantic) == (version, semantic)
    assert any(accepts(pattern, tag) for pattern in PATTERNS)


@pytest.mark.parametrize("tag", ["v1.2", "1.2.3", "v1.2.3.4", "v1.2.3-beta", "v1.2.3rc1", "v1.2.3-rc1-2", "v1.2.3-rc"])
def test_other_tags_release_nothing(tag: str) -> None:
    assert TOOL.parse(tag) is None
    assert not any(accepts(pattern, tag) for pattern in PATTERNS)


def accepts(pattern: str, tag: str) -> bool:
    """As GitHub reads a filter of tags without an asterisk: `+` and `[]` as in a regular expression."""
    assert not set(pattern) & set("*?!")
    return re.fullmatch(pattern.replace(".", r"\."), tag) is not None


@pytest.mark.parametrize(
    ("tag", "moved"),
    [
        ("v1.10.0", ["cpu-1.10", "cpu-1", "cpu", "latest"]),
        ("v2.0.0", ["cpu-2.0", "cpu-2", "cpu", "latest"]),
        ("v1.10.0-rc1", []),
        ("v3.0.0-rc1", []),
        ("v1.2.3", ["cpu-1.2"]),  # after 1.10.0, which stays the newest
        ("v1.2.1", []),
        ("v0.9.0", ["cpu-0.9", "cpu-0"]),
    ],
)
def test_floating_tags_name_the_newest_release_of_their_series(tag: str, moved: list[str]) -> None:
    release = TOOL.parse(tag)
    assert TOOL.image_tags("cpu", release, TAGS) == [f"cpu-{release.version}", *moved]


def test_latest_is_one_image_alone() -> None:
    assert TOOL.image_tags("vllm", TOOL.parse("v1.10.0"), TAGS) == ["vllm-1.10.0", "vllm-1.10", "vllm-1", "vllm"]
    assert TOOL.image_tags("cpu", TOOL.parse("v0.1.0"), ["v0.1.0"])[-1] == "latest"  # the first of all


@pytest.mark.parametrize(
    ("tag", "flags"),
    [("v1.10.0", "--latest=true"), ("v1.2.3", "--latest=false"), ("v1.11.0-rc1", "--latest=false --prerelease")],
)
def test_github_shows_only_the_newest_release_as_the_latest(tag: str, flags: str) -> None:
    assert TOOL.outputs(TOOL.parse(tag), TAGS)[-1] == f"flags={flags}"


def test_what_the_workflow_asks_for_is_what_the_tool_prints() -> None:
    asked = WORKFLOW["jobs"]["build"]["outputs"]
    assert [f"{name}={value}".partition("=")[0] for name, value in asked.items()] == [
        line.partition("=")[0] for line in TOOL.outputs(TOOL.parse("v1.2.3"), TAGS)
    ]
    assert all(value == f"${{{{ steps.tag.outputs.{name} }}}}" for name, value in asked.items())


def test_a_tag_that_releases_nothing_stops_the_workflow(tmp_path: Path) -> None:
    answer = subprocess.run([sys.executable, SCRIPT, "v1.2"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith("error: v1.2 releases nothing\nhint: ")


@pytest.mark.parametrize(
    ("tag", "pushed"),
    [("v1.2.3-rc1", ["cpu-1.2.3rc1"]), ("v1.2.3", ["cpu-1.2.3", "cpu-1.2", "cpu-1", "cpu", "latest"])],
)
def test_the_workflow_pushes_these_tags_and_no_others(tag: str, pushed: list[str], tmp_path: Path) -> None:
    """The step's own script, in a repository with this tag; Docker, cosign and the build write down their arguments."""
    (script,) = (step["run"] for step in WORKFLOW["jobs"]["images"]["steps"] if "images/build" in step.get("run", ""))
    for program in ("docker", "cosign", "images/build"):
        write_recorder(tmp_path / program)
    (tmp_path / "tools").mkdir()
    shutil.copy(SCRIPT, tmp_path / "tools")
    (tmp_path / "entrypoint" / "stoker" / "deploy").mkdir(parents=True)
    commit_with_tags(tmp_path, "v1.1.0", tag)
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    given = {"IMAGES": "ghcr.io/Team/stoker", "IMAGE": "cpu", "GITHUB_REF_NAME": tag, "PATH": path}
    version = TOOL.parse(tag).version
    subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env={**given, "VERSION": version}, check=True)
    lines = (tmp_path / "ran").read_text().splitlines()
    assert lines[0] == "build cpu"
    names = [line.removeprefix("docker push ") for line in lines if line.startswith("docker push ")]
    assert names == [f"ghcr.io/team/stoker:{name}" for name in pushed]
    assert lines[-1].startswith("cosign sign --yes ")


def write_recorder(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'#!/bin/sh\necho "$(basename "$0") $*" >>{path.parents["images" in path.parts]}/ran\n')
    path.chmod(0o755)


def commit_with_tags(folder: Path, *tags: str) -> None:
    git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message=x"], check=True)
    for tag in tags:
        subprocess.run([*git, "tag", tag], check=True)
