"""Fetches the libraries of the page at `/` from the npm registry, or checks the copies that are here.

`python tools/vendor_page.py` fetches each package that the manifest pins (with `npm pack`, which must be installed),
compares the archive with its pinned SHA-512 and rewrites the copies. `--check` compares the copies with the manifest's
SHA-256 and needs no network. To update a library: change its version in the manifest, remove its `integrity` and run
this; then change the version in `page/libraries.js` (Swagger UI: `page/docs.html`) and remove the old one's folder.

Text is kept as .gz, as it is served: a third of the size in the repository, the wheel and the images.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MANIFEST = ROOT / "entrypoint/stoker/serve/operate/page/vendor/manifest.json"
AS_THEY_ARE = (".woff2", "LICENSE", "NOTICE", ".txt")  # compressed already, or to be read by people


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare the copies with the manifest and change nothing")
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    if not parser.parse_args().check:
        for name, package in manifest.items():
            fetch(name, package)
        MANIFEST.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    wrong = list(faults(manifest))
    print("\n".join(wrong) or f"{len(manifest)} libraries are as {MANIFEST.name} says")
    return 1 if wrong else 0


def folder_of(name: str, package: dict[str, Any]) -> Path:
    """`vendor/NAME-VERSION`: the version is part of the address, so browsers may keep a file for ever."""
    short = name.removeprefix("@").replace("/", "-")
    return ROOT / str(package["folder"]) / f"{short}-{package['version']}"


def stored(folder: Path, file: str) -> Path:
    name = Path(file).name if "fonts/" not in file else f"fonts/{Path(file).name}"
    return folder / (name if name.endswith(AS_THEY_ARE) else f"{name}.gz")


def fetch(name: str, package: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as place:
        command = ["npm", "pack", "--silent", "--pack-destination", place, f"{name}@{package['version']}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        archive = next(Path(place).iterdir())
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if package.setdefault("integrity", f"sha512-{digest}") != f"sha512-{digest}":
            sys.exit(f"{name} {package['version']}: the archive is not the pinned one: sha512-{digest}")
        with tarfile.open(archive) as opened:
            package["files"] = {file: _keep(opened, name, package, file) for file in package["files"]}


def _keep(opened: tarfile.TarFile, name: str, package: dict[str, Any], file: str) -> str:
    """The SHA-256 of the file, which is now in its folder."""
    member = opened.extractfile(f"package/{file}")
    assert member is not None
    content = member.read()
    path = stored(folder_of(name, package), file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, 9, mtime=0) if path.suffix == ".gz" else content)
    return hashlib.sha256(content).hexdigest()


def faults(manifest: dict[str, Any]) -> Iterator[str]:
    """What is missing, changed, or not in the manifest."""
    expected = {MANIFEST}
    for name, package in manifest.items():
        for file, digest in package["files"].items():
            path = stored(folder_of(name, package), file)
            expected.add(path)
            if not path.exists():
                yield f"{path.relative_to(ROOT)} is missing: run tools/vendor_page.py"
            elif hashlib.sha256(_content(path)).hexdigest() != digest:
                yield f"{path.relative_to(ROOT)} is not {file} of {name} {package['version']}"
    for folder in {ROOT / str(package["folder"]) for package in manifest.values()}:
        found = {path for path in folder.rglob("*") if path.is_file()}
        yield from (f"{path.relative_to(ROOT)} is not in the manifest" for path in sorted(found - expected))


def _content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


if __name__ == "__main__":
    sys.exit(main())
