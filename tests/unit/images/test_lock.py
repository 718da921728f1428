"""The images' lock files: in step with pyproject.toml, and complete. `make lock` writes it anew."""

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
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"cpu": ("cpu", "remotes", "otel"), "torch": ("torch",), "vllm": ("vllm", "remotes", "otel")}  # by image
WANTED = {
    image: [Requirement(line) for line in PROJECT["dependencies"]]
    + [Requirement(line) for extra in extras for line in PROJECT["optional-dependencies"][extra]]
    for image, extras in EXTRAS.items()
}
ENTRIES = {
    image: re.findall(
        r"^(\S+)==(\S+)(.*(?:\n[ ].*)*)", (ROOT / f"images/{image}/requirements.lock").read_text(), re.MULTILINE
    )
    for image in EXTRAS
}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(
    ("extra", "requirement"), [(extra, each) for extra in EXTRAS for each in WANTED[extra]], ids=str
)
def test_what_pyproject_asks_for_is_pinned_as_it_asks(extra: str, requirement: Requirement) -> None:
    pins = {name: version for name, version, _ in ENTRIES[extra]}
    pin = pins.get(canonical(requirement.name))
    assert pin is not None, "run `make lock`"
    assert requirement.specifier.contains(pin)


@pytest.mark.parametrize("extra", EXTRAS)
def test_nothing_is_pinned_for_a_dependency_that_has_gone(extra: str) -> None:
    direct = {name for name, _, rest in ENTRIES[extra] if re.search(r"\bstoker \(pyproject\.toml\)", rest)}
    assert direct == {canonical(each.name) for each in WANTED[extra]}


@pytest.mark.parametrize("extra", EXTRAS)
def test_every_pin_has_hashes(extra: str) -> None:
    assert len(ENTRIES[extra]) > len(WANTED[extra])
    assert [name for name, _, rest in ENTRIES[extra] if "--hash=sha256:" not in rest] == []


def test_the_image_s_pytorch_is_the_tests() -> None:
    """The version that `make test-torch` runs on."""
    pins = {name: version for name, version, _ in ENTRIES["torch"]}
    assert f'"torch=={pins["torch"]}"' in (ROOT / "tools" / "setup.py").read_text()


def test_vllm_is_pinned_as_its_image_asks_and_with_hashes() -> None:
    asked = re.search(r"^vllm==(\S+)$", (ROOT / "images/vllm/vllm.in").read_text(), re.MULTILINE)
    entries = re.findall(r"^(\S+)==(\S+)(.*(?:\n[ ].*)*)", (ROOT / "images/vllm/vllm.lock").read_text(), re.MULTILINE)
    assert asked is not None
    assert {name: version for name, version, _ in entries}["vllm"] == asked[1]
    assert [name for name, _, rest in entries if "--hash=sha256:" not in rest] == []
