"""`stoker` in a process of its own on GPUs that NVML makes up: serve_on_gpus.py GPUS ARGUMENTS...

With SIXTEEN_BITS=refused in the environment no profile of 16 bits is in the catalogue: the demo model is so small that
no GPU would make the planner quantise it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path

import stoker.chain
from stoker.cli import main
from stoker.kinds.tensorrt_llm.plan.catalogue import GpuProfile


def fake_nvml(count: int):
    spec = importlib.util.spec_from_file_location("fake_nvml", Path(__file__).parents[2] / "fake_nvml.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["fake_nvml"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    gpus = [module.FakeGpu(f"GPU-{index}", bus_id=f"00000000:0{index}:00.0") for index in range(count)]
    return module.FakeNvml(*gpus, nvlinks=frozenset((0, index) for index in range(1, count)))


def without_sixteen_bits(find):
    def found():
        return tuple(replace(kind, profiles=tuple(filter(of_few_bits, kind.profiles))) for kind in find())

    return found


def of_few_bits(profile):
    return not isinstance(profile, GpuProfile) or profile.bits < 16


if __name__ == "__main__":
    sys.modules["pynvml"] = fake_nvml(int(sys.argv[1]))
    if os.environ.get("SIXTEEN_BITS") == "refused":
        stoker.chain.plan_kinds = without_sixteen_bits(stoker.chain.plan_kinds)
    main(sys.argv[2:])
