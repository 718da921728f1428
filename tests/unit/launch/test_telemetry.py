import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULES = [
    "stoker.kinds.openvino.build.calibrated, nncf",
    "stoker.kinds.openvino.runtime.paged",
    "stoker.kinds.openvino.runtime.dense",
]


@pytest.mark.slow
@pytest.mark.parametrize("modules", MODULES)
def test_openvino_and_nncf_have_nothing_to_report_with(modules: str, tmp_path: Path) -> None:
    """Their reporter leaves an id in the home directory as soon as it is imported."""
    program = f"import {modules}; import sys; print(sys.modules['openvino_telemetry'])"
    environment = {**os.environ, "HOME": str(tmp_path), "CI": ""}
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, env=environment
    )
    assert answer.stdout.split() == ["None"], answer.stderr
    assert list(tmp_path.iterdir()) == []
