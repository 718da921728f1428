"""docs/architecture.md: its picture is that of the imports, and the modules that it names exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.loading import load

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/architecture.md"
drawing = load("draw_architecture", ROOT / "tools/draw_architecture.py")


def test_the_picture_is_that_of_the_imports() -> None:
    assert drawing.TARGET.read_text() == drawing.drawn(), "run `python tools/draw_architecture.py`"


def test_every_module_that_the_page_names_exists() -> None:
    named = re.findall(r"`((?:[a-z_]+/)+[a-z_]+(?:\.py)?|[a-z_]+\.py)`", PAGE.read_text())
    assert len(named) > 20
    named = [name for name in named if not name.startswith("stoker_echo/")]  # the example's own
    missing = [name for name in named if not any((top / name).exists() for top in (ROOT, ROOT / "entrypoint/stoker"))]
    assert missing == []


def test_the_page_and_the_contributors_page_are_linked() -> None:
    assert "(docs/architecture.md)" in (ROOT / "README.md").read_text()
    assert "(docs/architecture.md)" in (ROOT / "CONTRIBUTING.md").read_text()
    assert "(architecture.svg)" in PAGE.read_text()


def test_arrows_that_follow_from_others_are_left_out() -> None:
    imports = {"a": frozenset("bcd"), "b": frozenset("c"), "c": frozenset("d"), "d": frozenset()}
    assert drawing.shortened(imports) == {"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": set()}


def test_chains_and_circles_of_imports_are_found() -> None:
    imports = {"a": frozenset("b"), "b": frozenset("cd"), "c": frozenset("b"), "d": frozenset(), "e": frozenset("d")}
    assert drawing.circles(imports) == [{"b", "c"}]
    assert drawing.longest_chain(imports) == ["a", "b", "d"]


def test_no_package_is_in_a_circle() -> None:
    assert drawing.circles(drawing.packages(drawing.modules())) == []


def test_kinds_do_not_import_each_other() -> None:
    """Except one that is the other's second way to serve: both run TensorRT-LLM."""
    names = {path.name for path in (ROOT / "entrypoint/stoker/kinds").iterdir() if path.is_dir()}
    found = {(_kind(name), _kind(target)) for name, all_ in drawing.modules().items() for target in all_}
    crossing = {(one, other) for one, other in found if one in names and other in names and one != other}
    assert crossing <= {("tensorrt_llm_pytorch", "tensorrt_llm")}


def _kind(module: str) -> str:
    return module.removeprefix("stoker.kinds.").partition(".")[0] if module.startswith("stoker.kinds.") else ""


def check_contract(root: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    environment = {"PYTHONPATH": str(root / "entrypoint"), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=root, env=environment)


def test_the_packages_keep_to_their_layers() -> None:
    result = check_contract(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The package and its contract, to be broken."""
    for name in ("entrypoint", "pyproject.toml"):
        subprocess.run(["cp", "-r", ROOT / name, tmp_path], check=True)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "line", "said"),
    [
        ("plan/planner.py", "import stoker.kinds.openvino", "stoker.plan is not allowed to import stoker.kinds"),
        ("settings/spec.py", "import stoker.serve.http.app", "stoker.settings is not allowed to import stoker.serve"),
        ("errors.py", "import stoker.probe.probe", "stoker.errors is not allowed to import stoker.probe"),
        ("stray.py", "", "stray"),
    ],
)
def test_an_import_upwards_and_a_package_without_a_layer_break_the_contract(
    copied: Path, module: str, line: str, said: str
) -> None:
    path = copied / "entrypoint/stoker" / module
    path.write_text((path.read_text() if path.exists() else "") + f"\n{line}\n")
    result = check_contract(copied)
    assert result.returncode == 1
    assert said in " ".join(result.stdout.split())


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]), ids=lambda path: path.name)
def test_what_a_page_links_to_in_the_repository_exists(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r"^\[[^\]]+\]: (\S+)", text, re.MULTILINE)
    missing = [link for link in links if "://" not in link and not (page.parent / link.partition("#")[0]).exists()]
    assert missing == []
