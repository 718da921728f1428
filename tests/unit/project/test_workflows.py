"""The workflows run what the Makefile has, with as few rights as they need. `make lint-workflows` lints them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
GITHUB = ROOT / ".github"
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z-]*(?: [a-z-]+)*):", MAKEFILE, re.MULTILINE))
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in yaml.safe_load(path.read_text())["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_what_they_make_exists(path: Path) -> None:
    jobs = yaml.safe_load(path.read_text())["jobs"].values()
    made = {name for step in steps(path) for name in re.findall(r"^make ([a-z-]+)", step.get("run", ""), re.MULTILINE)}
    made |= {name for job in jobs for name in job.get("strategy", {}).get("matrix", {}).get("target", [])}
    assert made <= TARGETS


def test_the_suite_is_among_what_they_run() -> None:
    runs = {step.get("run") for step in steps(GITHUB / "workflows" / "test.yml")}
    assert {"make check", "make test-fast", "make test", "make site", "make coverage", "make lint-workflows"} <= runs


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_they_may_only_read_unless_a_job_says_more(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_secret_stays_in_a_checkout_and_none_is_written_into_a_script(path: Path) -> None:
    checkouts = [step for step in steps(path) if step.get("uses", "").startswith("actions/checkout@")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)
    assert [step["run"] for step in steps(path) if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_with_their_version_beside(path: Path) -> None:
    """A tag can be moved to other code; Dependabot raises the commit and the comment together."""
    used = [line.partition("uses: ")[2] for line in path.read_text().splitlines() if "uses: " in line]
    assert used
    assert [line for line in used if not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


def test_an_action_has_one_version_in_all_workflows() -> None:
    pins = {step["uses"] for path in WORKFLOWS for step in steps(path) if "uses" in step}
    assert len({pin.partition("@")[0] for pin in pins}) == len(pins)


def test_commits_are_checked_as_make_check_does() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (hook,) = repository["hooks"]
    assert (repository["repo"], hook["entry"], hook["pass_filenames"]) == ("local", "make check", False)


@pytest.mark.parametrize("path", sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem)
def test_forms_are_well_formed(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    if path.stem != "config":
        assert {"name", "description", "body"} <= form.keys()
        identifiers = [field["id"] for field in form["body"]]
        assert len(identifiers) == len(set(identifiers))
