"""What is known to have come up, which is a hint and no more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.plan.conftest import build_model

from stoker.plan.types import Chosen, KvPool, MemoryBudget, Plan
from stoker.probe.machine import Cpu, Machine
from stoker.store.engine import Manifest
from stoker.store.warmed import Warmed, warmed_key

CPU = Cpu("x86_64", "A processor", 4, None, 1 << 34, 1 << 34, 1 << 33, ("avx2",))
CHOSEN = Chosen("p", "openvino", "text", "int8", "u8", "f32", 1, 1, (), 16, 256, 2048, 4)
ENGINE = Manifest(1, "model-openvino-int8-0123456789abcdef", "openvino", "model", "", {}, {}, {"openvino": "1"})


def plan(chosen: Chosen = CHOSEN, cpu: Cpu = CPU, kv: KvPool = KvPool(8, 32, 4)) -> Plan:  # noqa: B008 - frozen
    machine = Machine("here", cpu)
    return Plan(machine, build_model("qwen2.5-0.5b"), chosen, MemoryBudget(0, 0, 0, kv, 0), (), (), ())


def test_what_has_come_up_is_known_to_later_servers(tmp_path: Path) -> None:
    Warmed(tmp_path).add("one")
    assert "one" in Warmed(tmp_path)
    assert "other" not in Warmed(tmp_path)


def test_the_last_are_kept_and_each_once(tmp_path: Path) -> None:
    warmed = Warmed(tmp_path)
    for number in range(70):
        warmed.add(str(number))
        warmed.add("again")
    assert "again" in warmed
    assert "69" in warmed
    assert "0" not in warmed


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"{}", b"1", b'[1, null, {"a": 1}]', b"[" * 100_000])
def test_what_cannot_be_read_has_not_come_up(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "warmed.json").write_bytes(content)
    warmed = Warmed(tmp_path)
    assert "one" not in warmed
    warmed.add("one")
    assert "one" in warmed


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    warmed = Warmed(tmp_path / "file")
    warmed.add("one")
    assert "one" not in warmed


@pytest.mark.parametrize(
    "changed",
    [
        {"chosen": replace(CHOSEN, max_num_tokens=512)},
        {"chosen": replace(CHOSEN, max_batch_size=32)},
        {"cpu": replace(CPU, memory_limit=1 << 33)},
        {"cpu": replace(CPU, cores=2)},
        {"kv": KvPool(16, 32, 4)},
    ],
    ids=["chunk", "batch", "memory", "cores", "cache"],
)
def test_another_drive_or_machine_has_to_show_it_again(changed: dict[str, Any]) -> None:
    assert warmed_key(plan(), ENGINE) == warmed_key(plan(), ENGINE)
    assert warmed_key(plan(**changed), ENGINE) != warmed_key(plan(), ENGINE)


def test_so_has_another_engine_or_another_version_of_what_runs_it() -> None:
    for other in (replace(ENGINE, key="other"), replace(ENGINE, versions={"openvino": "2"})):
        assert warmed_key(plan(), other) != warmed_key(plan(), ENGINE)
