"""Every kind states everything, and what it states is there."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from typing import Any

import pytest

from stoker.attributes import attribute
from stoker.build.kind import KeyFields, nothing_more
from stoker.errors import UsageError
from stoker.kinds import OWN, available_kinds, kind_named, read_entry_points
from stoker.kinds.kind import EngineKind
from stoker.launch import contract
from stoker.launch.capabilities import GUIDES, Tensors
from stoker.plan.kind import PlanKind
from stoker.plan.types import Chosen
from stoker.probe.machine import AMD, NVIDIA

KINDS: list[EngineKind] = [attribute(path) for path in OWN]
HEAVY = ("openvino", "openvino_genai", "nncf", "torch", "transformers", "tensorrt_llm", "tensorrt", "numpy", "vllm")


def texts(value: Any) -> list[str]:
    """Every `module:attribute` in a value and the values within."""
    if is_dataclass(value) and not isinstance(value, type):
        return [text for field in fields(value) for text in texts(getattr(value, field.name))]
    return [value] if isinstance(value, str) and ":" in value and " " not in value else []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_field_of_a_kind_is_stated(kind: EngineKind) -> None:
    for part in (EngineKind, type(kind.build), type(kind.launch), type(kind.deploy), KeyFields):
        assert all(field.default is field.default_factory for field in fields(part)), f"{part} has a default"
    assert kind.name
    assert kind.summary
    assert kind.evidence
    assert set(kind.purposes) <= {"text", "embedding", "rerank"}
    assert kind.purposes
    assert kind.build.worker.startswith("stoker.kinds.")
    assert find_spec(kind.build.worker) is not None
    assert kind.build.version
    assert kind.deploy.images
    assert set(kind.deploy.images) <= {"cpu", NVIDIA, AMD}
    assert 0 < kind.deploy.build_rate < 1000


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_is_planned_can_be_built_served_and_deployed(kind: EngineKind) -> None:
    planned = kind.planning()
    assert planned.name == kind.name
    assert {profile.engine for profile in planned.profiles} <= {kind.name}
    assert planned.purposes <= set(kind.purposes)
    assert set(kind.deploy.images) <= set(planned.devices) <= {"cpu", NVIDIA, AMD}
    assert planned.package.name
    assert planned.package.remedy


@pytest.mark.parametrize(
    ("kind", "text"),
    [(kind, text) for kind in KINDS for text in texts(kind)],
    ids=lambda one: getattr(one, "name", one),
)
def test_what_a_kind_names_is_there(kind: EngineKind, text: str) -> None:
    assert callable(attribute(text))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_kind_answers_without_importing_its_engine(kind: EngineKind) -> None:
    program = (
        f"import sys; from stoker.kinds import kind_named; kind = kind_named({kind.name!r}); kind.build.available;"
        f"kind.build.versions(); kind.gpu_vendors(); kind.planning();"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_plan_imports_no_engine(tmp_path) -> None:
    program = (
        "import contextlib, io, sys\nfrom stoker import cli\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        f"    code = cli.run(['plan', 'demo', '--cache', {str(tmp_path)!r}])\n"
        f"print(code, [name for name in {HEAVY!r} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "0 []"


def test_exactly_one_kind_is_the_baseline() -> None:
    assert [kind.baseline for kind in KINDS].count(True) == 1


def test_this_installation_has_the_cpus_kind() -> None:
    assert "openvino" in available_kinds()
    assert "tensorrt_llm_pytorch" not in available_kinds()


def test_an_unknown_kind_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown engine kind 'openvin' \(did you mean openvino\?\)"):
        kind_named("openvin")


def test_a_field_of_the_plan_that_a_kind_does_not_sort_in_is_an_error() -> None:
    names = tuple(field.name for field in fields(Chosen))
    KeyFields(names[:3], names[3:], nothing_more)
    with pytest.raises(ValueError, match=names[-1]):
        KeyFields(names[:3], names[3:-1], nothing_more)
    with pytest.raises(ValueError, match=names[0]):
        KeyFields(names[:3], (*names[3:], names[0]), nothing_more)
    with pytest.raises(ValueError, match="colour"):
        KeyFields((*names, "colour"), (), nothing_more)


def test_what_a_kind_lacks_follows_from_its_tensors() -> None:
    everything = Tensors(tuple(spec.name for spec in contract.INPUTS), contract.TEXT_OUTPUTS)
    assert everything.capabilities.lacks == frozenset()
    assert not everything.capabilities.tells_reuse
    assert GUIDES in Tensors(contract.TEXT_INPUTS, contract.TEXT_OUTPUTS).capabilities.lacks
    assert Tensors((), (contract.REUSED_BLOCKS,)).capabilities.tells_reuse
    with pytest.raises(ValueError, match="colour"):
        Tensors(("colour",), ())


class Package:
    """In place of a distribution."""

    def __init__(self, name: str) -> None:
        self.name = name


def point(name: str, value: str, package: str = "acme-kinds") -> EntryPoint:
    found = EntryPoint(name, value, "stoker.kinds")
    vars(found)["dist"] = Package(package)
    return found


PLANNED = replace(KINDS[0].planning(), name="abacus")
ABACUS = replace(KINDS[0], name="abacus", plan=f"{__name__}:planned")
OTHER = replace(ABACUS, name="other_name")
UNPLANNED = replace(ABACUS, plan=f"{__name__}:broken")
MISPLANNED = replace(ABACUS, plan=KINDS[0].plan)
NO_KIND = "abacus"


def planned() -> PlanKind:
    return PLANNED


def broken() -> None:
    raise RuntimeError("no beads")


HERE = __name__


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ([point("abacus", "acme_missing:KIND")], "No module named 'acme_missing'"),
        ([point("abacus", f"{HERE}:MISSING")], "MISSING"),
        ([point("abacus", f"{HERE}:NO_KIND")], "is str, not stoker.kinds.kind.EngineKind"),
        ([point("abacus", f"{HERE}:OTHER")], "has the names ('other_name', 'abacus')"),
        ([point("abacus", f"{HERE}:UNPLANNED")], "no beads"),
        ([point("abacus", f"{HERE}:MISPLANNED")], "has the names ('abacus', 'openvino')"),
        ([point("openvino", f"{HERE}:ABACUS")], "Stoker has a kind of that name"),
        ([point("Ab acus", f"{HERE}:ABACUS")], "its name must be lower-case"),
        (
            [point("abacus", f"{HERE}:ABACUS"), point("abacus", f"{HERE}:ABACUS", "other-kinds")],
            "another package has a kind of that name",
        ),
    ],
)
def test_a_package_whose_kind_is_of_no_use_is_named_and_left_out(
    monkeypatch: pytest.MonkeyPatch, points: list[EntryPoint], reason: str
) -> None:
    monkeypatch.setitem(sys.modules, HERE, sys.modules.get(HERE) or _this_module())
    found = read_entry_points({"openvino": KINDS[0]}, tuple(points))
    assert found.kinds == {"openvino": KINDS[0]}
    assert len(found.faults) == len(points)
    assert "acme-kinds" in found.faults[0]
    assert reason in found.faults[0]


def _this_module() -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(**globals())


def test_a_package_that_exits_while_it_is_imported_is_left_out(tmp_path, monkeypatch) -> None:
    (tmp_path / "acme_exits.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    found = read_entry_points({}, (point("abacus", "acme_exits:KIND"),))
    assert found.kinds == {}
    assert "acme-kinds" in found.faults[0]


def test_a_good_package_adds_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, HERE, sys.modules.get(HERE) or _this_module())
    found = read_entry_points({"openvino": KINDS[0]}, (point("abacus", f"{HERE}:ABACUS"),))
    assert found.kinds == {"openvino": KINDS[0], "abacus": ABACUS}
    assert found.faults == ()
