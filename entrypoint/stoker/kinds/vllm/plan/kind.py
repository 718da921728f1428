"""What planning asks of vLLM. The catalogue has no profiles of it yet, so that no plan takes it."""

from __future__ import annotations

from functools import cache

from stoker.errors import UnsupportedModelError
from stoker.plan.devices import Place, Split
from stoker.plan.kind import Candidate, Obstacle, Package, PlanKind, Question
from stoker.plan.profile import Profile
from stoker.probe.machine import NVIDIA, Gpu
from stoker.resolve.model import Model


@cache
def planning() -> PlanKind:
    return PlanKind(
        name="vllm",
        order=3,
        last_choice=False,
        devices=(NVIDIA,),
        elsewhere="vLLM serves from NVIDIA GPUs here",
        package=Package("vLLM", "install vllm in an environment of its own and set STOKER_VLLM_PYTHON to its Python"),
        profiles=(),
        architectures=(),
        unknown=unknown,
        checkpoint=lambda model: model.quantization.method if model.quantization else "plain",
        against=against,
        why_not_split=lambda _profile, _question, _place, _split: "",
        spreads_for_latency=lambda _profile, _question, _split: False,
        candidate=candidate,
        retries_build=False,
    )


def unknown(model: Model) -> UnsupportedModelError | None:
    return UnsupportedModelError(f"the catalogue has no profile of vLLM for {model.architecture.name}")


def against(_profile: Profile, _question: Question, _place: Place) -> Obstacle | None:
    return None


def candidate(
    profile: Profile, _question: Question, _place: Place, _split: Split, _devices: tuple[Gpu, ...]
) -> Candidate:
    raise AssertionError(profile.name)  # there is none to ask for
