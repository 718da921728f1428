"""`make release`: a release's files in dist/, from the sources as they are.

    python tools/release.py [--images REPOSITORY]

Runs in .venv-project. Writes the sdist, the wheel built from it, a bill of materials (CycloneDX) of what the wheel
installs with its extras `cpu` and `remotes`, and SHA256SUMS. `--images` is where the release's images are, such as
ghcr.io/OWNER/stoker: `stoker manifest` and `stoker up` then name them, with the version, instead of images made on the
host. Signs nothing: .github/workflows/release.yml does, with the identity of its run.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = ROOT / "entrypoint" / "stoker" / "deploy" / "repository.txt"


def release(images: str, folder: Path) -> list[Path]:
    """The files that it wrote into `folder`, whose previous contents are removed."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        if images:
            REPOSITORY.write_text(images.lower() + "\n", encoding="utf-8")  # registries know no capital letters
        run("-m", "build", "--no-isolation", "--outdir", str(folder))
    finally:
        REPOSITORY.unlink(missing_ok=True)
    packages = sorted(folder.iterdir())
    run("-m", "twine", "check", "--strict", *map(str, packages))
    bill = write_bill(packages[0])
    sums = write_sums([*packages, bill])
    return [*packages, bill, sums]


def write_bill(package: Path) -> Path:
    """Of the locked packages, which tests and images install; the wheel's own requirements allow newer ones."""
    name = package.name.removesuffix(".tar.gz").removesuffix(".whl").split("-py3")[0]
    bill = package.with_name(f"{name}.cdx.json")
    options = ("--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible", "--of", "JSON", "-o", str(bill))
    run("-m", "cyclonedx_py", "requirements", *options, str(ROOT / "tools" / "locks" / "serve.lock"))
    return bill


def write_sums(files: Sequence[Path]) -> Path:
    """In the form of sha256sum(1)."""
    sums = files[0].with_name("SHA256SUMS")
    sums.write_text("".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files))
    return sums


def run(*arguments: str) -> None:
    if subprocess.run([sys.executable, *arguments], cwd=ROOT, check=False).returncode != 0:
        sys.exit(f"error: this failed: python {' '.join(arguments)}")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default="", help="where the release's images are, such as ghcr.io/OWNER/stoker")
    parser.add_argument("--folder", type=Path, default=ROOT / "dist")
    given = parser.parse_args(arguments)
    for path in release(given.images, given.folder):
        print(path)
    print("not signed: the release workflow signs, with its own identity")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
