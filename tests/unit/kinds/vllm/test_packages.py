"""Where another environment's packages are, found without running its Python."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from stoker.kinds.vllm.runtime.packages import packages_of


def environment(root: Path, *, system: bool = False) -> Path:
    venv.create(root, with_pip=False, system_site_packages=system, symlinks=True)
    return root / "bin" / "python"


def site_of(python: Path) -> Path:
    return next(python.parent.parent.glob("lib/python3*/site-packages"))


def told_by(python: Path) -> set[str]:
    """What that Python says itself."""
    code = (
        "import sys; print(*[path for path in sys.path if 'packages' in path or path.endswith('elsewhere')], sep='\\n')"
    )
    told = subprocess.run([str(python), "-I", "-c", code], check=True, capture_output=True, text=True).stdout
    return {str(Path(line).resolve()) for line in told.splitlines()}


def found_for(python: Path) -> set[str]:
    return {str(Path(each).resolve()) for each in packages_of(python)}


def test_an_environments_own_folder(tmp_path: Path) -> None:
    python = environment(tmp_path / "own")
    assert found_for(python) == told_by(python) == {str(site_of(python).resolve())}


def test_those_that_its_path_files_name(tmp_path: Path) -> None:
    python = environment(tmp_path / "linked")
    other = tmp_path / "elsewhere"
    other.mkdir()
    lines = ["# a comment", "import sys", "", str(other), "no-such-folder", "../../.."]
    (site_of(python) / "more.pth").write_text("\n".join(lines))
    assert told_by(python) <= found_for(python)
    assert str(other.resolve()) in found_for(python)
    assert not any("no-such-folder" in each for each in packages_of(python))


def test_the_base_installations_where_it_takes_them_too(tmp_path: Path) -> None:
    alone, both = environment(tmp_path / "alone"), environment(tmp_path / "both", system=True)
    assert told_by(both) <= found_for(both)
    assert len(found_for(both)) > len(found_for(alone))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"import site; site.addsitedir('x')\n", b"\x00\n"])
def test_a_path_file_that_names_nothing_is_passed_over(content: bytes, tmp_path: Path) -> None:
    python = environment(tmp_path / "odd")
    (site_of(python) / "odd.pth").write_bytes(content)
    assert found_for(python) == {str(site_of(python).resolve())}


def test_a_folder_that_is_no_environment_has_none(tmp_path: Path) -> None:
    assert packages_of(tmp_path / "bin" / "python") == ()


def test_this_pythons_own_packages_are_found_too() -> None:
    assert str(Path(pytest.__file__).resolve().parents[1]) in found_for(Path(sys.executable))
