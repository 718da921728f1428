"""Versions, images' names and the changelog: what a release is made of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.loading import load

from stoker.deploy import images

ROOT = Path(__file__).parents[3]
CHANGELOG = load("stoker_changelog", ROOT / "tools" / "changelog.py")
TEXT = """\
# Changelog

## [Unreleased]

## [1.10.0] - 2027-01-01

Ten.

## [1.1.0]

### Added

- One.

[1.1.0]: x
"""


@pytest.mark.parametrize(
    ("version", "text"), [("1.10.0", "Ten."), ("1.1.0", "### Added\n\n- One."), ("Unreleased", ""), ("1.1", None)]
)
def test_a_release_s_text_is_its_section(version: str, text: str | None) -> None:
    assert CHANGELOG.section(TEXT, version) == text


def test_a_candidate_may_take_what_is_not_released_yet() -> None:
    now = TEXT.replace("## [1.10.0]", "Soon.\n\n## [1.10.0]")
    assert CHANGELOG.release_text(now, "1.11.0-rc1") == "Soon."
    assert CHANGELOG.release_text(now, "1.11.0") is None
    assert CHANGELOG.release_text(now.replace("[1.10.0]", "[1.11.0-rc1]"), "1.11.0-rc1") == "Ten."


def test_the_changelog_says_what_is_not_released() -> None:
    assert CHANGELOG.section((ROOT / "CHANGELOG.md").read_text(), "Unreleased")


def test_a_version_without_a_section_is_no_release() -> None:
    script = [sys.executable, str(ROOT / "tools" / "changelog.py"), "0.0.0"]
    answer = subprocess.run(script, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "no section [0.0.0]" in answer.stderr


def test_a_release_names_images_as_registries_take_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def build(*_: str) -> None:
        written.append(tool.REPOSITORY.read_text())
        raise SystemExit("that is enough")

    tool = load("stoker_release", ROOT / "tools" / "release.py")
    monkeypatch.setattr(tool, "REPOSITORY", tmp_path / "repository.txt")
    monkeypatch.setattr(tool, "run", build)
    with pytest.raises(SystemExit, match="enough"):
        tool.release("ghcr.io/Team/stoker", tmp_path / "dist")
    assert written == ["ghcr.io/team/stoker\n"]
    assert not tool.REPOSITORY.exists()


def test_images_are_made_on_this_host_unless_a_release_says_where_its_own_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = tmp_path / "repository.txt"
    monkeypatch.setattr(images, "_RELEASED", written)
    monkeypatch.setattr(images, "__version__", "1.2.3")
    assert images.own_image("cpu") == "stoker:cpu"
    written.write_text("ghcr.io/team/stoker\n")
    assert images.own_image("cpu") == "ghcr.io/team/stoker:cpu-1.2.3"
    assert images.push_hint(images.own_image("cpu")) == ""


def test_an_image_s_name_and_version_are_those_given(tmp_path: Path) -> None:
    """What images/build asks of the container engine, for which a program that writes down its arguments stands."""
    engine = tmp_path / "docker"
    engine.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv))\n")
    engine.chmod(0o755)
    given = {"CONTAINER_ENGINE": str(engine), "IMAGES": "ghcr.io/team/stoker", "VERSION": "1.2.3"}
    command = [str(ROOT / "images" / "build"), "cpu"]
    asked = json.loads(subprocess.run(command, env={**os.environ, **given}, capture_output=True, check=True).stdout)
    assert asked[asked.index("--tag") + 1] == "ghcr.io/team/stoker:cpu"
    assert "VERSION=1.2.3" in asked
