"""`stoker` itself in a process of its own, on GPUs that NVML makes up: stoker_on_gpus.py GPUS ARGUMENTS..."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from stoker.cli import main


def fake_nvml(count: int):
    spec = importlib.util.spec_from_file_location("fake_nvml", Path(__file__).parents[2] / "fake_nvml.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["fake_nvml"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    gpus = [module.FakeGpu(f"GPU-{index}", bus_id=f"00000000:0{index}:00.0") for index in range(count)]
    return module.FakeNvml(*gpus, nvlinks=frozenset((0, index) for index in range(1, count)))


if __name__ == "__main__":
    sys.modules["pynvml"] = fake_nvml(int(sys.argv[1]))
    main(sys.argv[2:])
