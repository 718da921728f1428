"""LoRA adapters of the PyTorch kind: what the plan says reaches the LLM, and each request its adapter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
ADAPTERS = 2
SCRIPT = """
import json, sys
from pathlib import Path
from stoker.kinds.tensorrt_llm_pytorch.build.arguments import llm_arguments
from stoker.kinds.tensorrt_llm_pytorch.files import ARGUMENTS
from stoker.kinds.tensorrt_llm_pytorch.runtime.runtime import LlmRuntime
from stoker.launch.generation import Adapter, Generation, RequestRefusedError
from tests.engine_settings import engine_settings
from tests.running import tokens_of

folder, loras = Path(sys.argv[1]), int(sys.argv[2])
settings = engine_settings("x", folder, max_loras=loras, max_lora_rank=8, activation_precision="bf16")
(folder / ARGUMENTS).write_text(json.dumps(llm_arguments(settings.chosen)))
runtime = LlmRuntime(settings)
adapters = [None, *(Adapter(n + 1, str(folder / f"adapter{n}")) for n in range(3))]
told = []
for adapter in adapters:
    try:
        told.append(tokens_of(runtime, [Generation("x", (7, 8, 9), 4, adapter=adapter)])[0])
    except RequestRefusedError as error:
        told.append(str(error))
runtime.close()
print(json.dumps(told))
"""


def asked(folder: Path, loras: int) -> tuple[list[list[int] | str], list[dict[str, object]]]:
    """What each of no adapter, two that fit and one that does not gives; and what the LLM heard."""
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text('{"vocab_size": 2048}')
    for name in ("tokenizer.json", "model.safetensors"):
        (checkpoint / name).touch()
    for number, rank in enumerate((4, 8, 16)):
        (folder / f"adapter{number}").mkdir()
        (folder / f"adapter{number}" / "adapter_config.json").write_text(json.dumps({"r": rank}))
    log = folder / "log"
    path = os.pathsep.join([str(ROOT), str(ROOT / "entrypoint"), str(ROOT / "tests" / "fake_tensorrt_llm")])
    environment = {**os.environ, "PYTHONPATH": path, "FAKE_TENSORRT_LLM_LOG": str(log)}
    command = [sys.executable, "-c", SCRIPT, str(folder), str(loras)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), [json.loads(line) for line in log.read_text().splitlines()]


def test_the_plan_s_limits_and_each_request_s_adapter_reach_the_llm(tmp_path: Path) -> None:
    (base, first, second, refused), heard = asked(tmp_path, ADAPTERS)
    assert len({str(tokens) for tokens in (base, first, second)}) == 3
    assert "rank 16 is above max_lora_rank 8" in refused
    config = next(str(each["llm"]["lora_config"]) for each in heard if "llm" in each)  # type: ignore[index]
    for part in ("max_lora_rank=8", f"max_loras={ADAPTERS}", f"max_cpu_loras={2 * ADAPTERS}", "'attn_dense'"):
        assert part in config
    loras = [str(each["lora"]) for each in heard if "lora" in each]
    assert [str(tmp_path / f"adapter{number}") in lora for number, lora in enumerate(loras)] == [True, True]


def test_without_room_for_adapters_they_are_refused(tmp_path: Path) -> None:
    (base, *refused), heard = asked(tmp_path, 0)
    assert isinstance(base, list)
    assert all("planned without --max-loras" in str(each) for each in refused)
    assert "lora_config" not in str(heard)
