"""Every file of a real engine, damaged in every way, is noticed, and what is damaged is replaced."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from stoker.store.integrity import fault_of
from stoker.store.policy import StorePolicy
from stoker.store.store import Store

WAYS = ("flipped", "truncated", "missing", "swapped")
PROMPT = ("--prompt", "Who are you?", "--max-tokens", "24")


def damage(file: Path, way: str, other: Path) -> bool:
    """False where there is nothing to damage that way: the other engine has the same file."""
    data = file.read_bytes()
    if way == "flipped":
        at = random.randrange(len(data))
        file.write_bytes(data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :])
    elif way == "truncated":
        file.write_bytes(data[: random.randrange(len(data))])
    elif way == "missing":
        file.unlink()
    elif other.read_bytes() == data:
        return False
    else:
        shutil.copyfile(other, file)
    return True


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory, make_cli) -> tuple[Path, Path]:
    """Two real engines of one model."""
    cli = make_cli(tmp_path_factory.mktemp("engines"))
    for precision in ("int8", "bf16"):
        assert cli.run("build", "demo", "--precision", precision).returncode == 0
    first, second = sorted(Store(cli.cache).engines.iterdir(), key=lambda path: "int8" not in path.name)
    return first, second


def test_every_damage_to_every_file_is_found(engines, tmp_path: Path, rounds) -> None:
    first, second = engines
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(files) > 5
    store, unfound, count = Store(tmp_path), [], 0
    for _ in range(rounds(1, 20)):
        for file in files:
            for way in WAYS:
                directory = Path(shutil.copytree(first, store.engines / first.name, dirs_exist_ok=True))
                if damage(directory / file, way, second / file):
                    count += 1
                    if not fault_of(store, first.name, StorePolicy()):
                        unfound.append((str(file), way))
                shutil.rmtree(directory)
    assert unfound == []
    assert count >= 3 * len(files)


@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_engine_is_put_aside_and_built_again(engines, make_cli, tmp_path: Path, way) -> None:
    """Also the flipped byte, whose size is right: `full` reads every byte before anything is served."""
    first, second = engines
    cli = make_cli(tmp_path / "cache")
    target = Path(shutil.copytree(first, Store(cli.cache).engines / first.name))
    damage(target / "openvino_model.bin", way, second / "openvino_model.bin")
    built = cli.run("build", "demo", "--check", "full")
    assert built.returncode == 0
    assert "is damaged (openvino_model.bin" in built.stderr
    assert [path.name.partition(".")[0] for path in (cli.cache / "quarantine").iterdir()]
    assert (target / "openvino_model.bin").read_bytes() == (first / "openvino_model.bin").read_bytes()
    assert cli.run("engines", "verify").returncode == 0


def test_verify_names_the_file_and_fails(engines, make_cli, tmp_path: Path) -> None:
    cli = make_cli(tmp_path / "cache")
    target = Path(shutil.copytree(engines[0], Store(cli.cache).engines / engines[0].name))
    damage(target / "tokenizer.json", "flipped", target)
    answer = cli.run("engines", "verify")
    assert answer.returncode == 74
    assert "tokenizer.json is not the file that was built" in answer.stdout
    assert target.is_dir()


def test_an_export_is_served_elsewhere_and_imported_again(engines, make_cli, tmp_path: Path) -> None:
    origin, air_gapped = make_cli(engines[0].parents[1]), make_cli(tmp_path / "cache")
    exported = tmp_path / "exported"
    answer = origin.run("export", "demo", "--precision", "int8", str(exported))
    assert answer.returncode == 0, answer.stderr
    text = origin.run("generate", "demo", "--precision", "int8", *PROMPT).stdout
    assert text
    assert air_gapped.run("generate", "--model", str(exported), *PROMPT).stdout == text
    assert not (air_gapped.cache / "engines").exists()
    assert air_gapped.run("engines", "import", str(exported)).returncode == 0
    found = air_gapped.run("build", "demo", "--precision", "int8")
    assert "found the engine" in found.stderr
    again = origin.run("export", "demo", str(exported))
    assert (again.returncode, "is not empty" in again.stderr) == (64, True)


def test_a_damaged_export_is_refused(engines, make_cli, tmp_path: Path) -> None:
    cli = make_cli(tmp_path / "cache")
    exported = Path(shutil.copytree(engines[0], tmp_path / "exported"))
    damage(exported / "openvino_model.bin", "flipped", exported)
    answer = cli.run("build", str(exported), "--check", "full")
    assert answer.returncode == 74
    assert "openvino_model.bin is not the file that was built" in answer.stderr
    assert cli.run("engines", "import", str(exported)).returncode == 74
    damage(exported / "config.json", "truncated", exported)
    assert cli.run("generate", str(exported), *PROMPT).returncode == 74
