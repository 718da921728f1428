"""Outside the folder of kinds, nothing of Stoker names one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stoker.kinds import OWN

SOURCE = Path(__file__).parents[3] / "entrypoint" / "stoker"
NAMES = {path.split(".")[2].split(":")[0] for path in OWN} | {"vllm"}
# vLLM, spelled so, is the server whose API ours follows in places; capitals are names of environment variables.
WORD = re.compile(rf"\b(?!(?-i:vLLM|[A-Z]+\b))({'|'.join(sorted(NAMES))})\b", re.IGNORECASE)
FILES = sorted(
    path for path in SOURCE.rglob("*.py") if "kinds" not in path.relative_to(SOURCE).parts[:1] and path.is_file()
)


def test_there_is_something_to_look_at() -> None:
    assert len(FILES) > 100
    assert {"openvino", "tensorrt_llm", "tensorrt_llm_pytorch", "torch", "vllm"} <= NAMES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_no_module_outside_kinds_names_a_kind(path: Path) -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{number}: {line.strip()}"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if WORD.search(line)
    ]
    assert found == []
