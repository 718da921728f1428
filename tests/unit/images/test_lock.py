"""The images' lock file: in step with pyproject.toml, and complete. `make lock` writes it anew."""

import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[3]
LOCK = (ROOT / "images/cpu/requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WANTED = [Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["cpu"]]
ENTRIES = re.findall(r"^(\S+)==(\S+)(.*(?:\n[ ].*)*)", LOCK, re.MULTILINE)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("requirement", WANTED, ids=str)
def test_what_pyproject_asks_for_is_pinned_as_it_asks(requirement: Requirement) -> None:
    pins = {name: version for name, version, _ in ENTRIES}
    pin = pins.get(canonical(requirement.name))
    assert pin is not None, "run `make lock`"
    assert requirement.specifier.contains(pin)


def test_nothing_is_pinned_for_a_dependency_that_has_gone() -> None:
    direct = {name for name, _, rest in ENTRIES if re.search(r"\bstoker \(pyproject\.toml\)", rest)}
    assert direct == {canonical(each.name) for each in WANTED}


def test_every_pin_has_hashes() -> None:
    assert len(ENTRIES) > len(WANTED)
    assert [name for name, _, rest in ENTRIES if "--hash=sha256:" not in rest] == []
