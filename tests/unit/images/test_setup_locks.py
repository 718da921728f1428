"""What tools/setup.py installs is locked, by version and hash."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]


def requirements(name: str) -> list[str]:
    """Those of a file in tools/locks."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / "tools/locks" / name).read_text().splitlines())
    return [line for line in lines if line]


WANTED = {
    "serve": [*PROJECT["project"]["dependencies"], *EXTRAS["cpu"], *EXTRAS["remotes"]],
    "build": [*PROJECT["build-system"]["requires"], "pip", "editables"],
    **{group: PROJECT["dependency-groups"][group] for group in ("test", "containers")},
    "project": [each for group in ("docs", "mutation", "release") for each in PROJECT["dependency-groups"][group]],
    "clients": requirements("clients.in"),
}


def entries(lock: str) -> list[tuple[str, str, str]]:
    """Name, version, and the rest with its hashes."""
    text = (ROOT / "tools/locks" / f"{lock}.lock").read_text()
    return re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)(.*(?:\n[ ].*)*)", text, re.MULTILINE)


@pytest.mark.parametrize(("lock", "wanted"), [(lock, each) for lock in WANTED for each in WANTED[lock]])
def test_what_is_asked_for_is_pinned_as_it_asks(lock: str, wanted: str) -> None:
    requirement = Requirement(wanted)
    pins = [version for name, version, _ in entries(lock) if name == canonicalize_name(requirement.name)]
    assert pins, "run `make lock`"
    assert all(requirement.specifier.contains(pin) for pin in pins)


@pytest.mark.parametrize("lock", WANTED)
def test_every_pin_has_hashes(lock: str) -> None:
    assert entries(lock)
    assert [name for name, _, rest in entries(lock) if "--hash=sha256:" not in rest] == []


@pytest.mark.parametrize("larger", ["test", "containers"])
def test_what_comes_beside_changes_nothing_of_what_serves(larger: str) -> None:
    serving = {(name, version) for name, version, _ in entries("serve")}
    names = {name for name, _ in serving}
    assert [
        (name, version) for name, version, _ in entries(larger) if name in names and (name, version) not in serving
    ] == []


def test_the_clients_lock_leaves_out_what_is_excluded_and_images_lock_says_so() -> None:
    excluded = {Requirement(line).name for line in requirements("clients.excluded")}
    assert excluded.isdisjoint(name for name, _, _ in entries("clients"))
    script = (ROOT / "images/lock").read_text()
    assert f"excluded=({' '.join(sorted(excluded))})" in script


def test_a_wheel_of_pip_that_is_not_the_locked_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    monkeypatch.delitem(sys.modules, "setup", raising=False)
    import setup as tools_setup

    version = next(version for name, version, _ in entries("build") if name == "pip")
    index = {"files": [{"filename": f"pip-{version}-py3-none-any.whl", "url": "../../files/pip.whl"}]}

    def fetch(url: str, accept: str = "*/*") -> bytes:

        return json.dumps(index).encode() if url.endswith("/pip/") else b"not that wheel"

    monkeypatch.setattr(tools_setup, "fetch", fetch)
    monkeypatch.setattr(tools_setup, "run", lambda *command, **options: pytest.fail("it was run"))
    with pytest.raises(SystemExit, match="does not have the digest"):
        tools_setup.bootstrap_pip()
