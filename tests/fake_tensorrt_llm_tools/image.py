"""Lays the stand-ins out as NVIDIA's image has the tools: a virtual environment, and the examples elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
FAMILIES = ("llama", "qwen", "gemma", "phi", "gpt")
PACKAGES = {"tensorrt_llm": "1.2.1", "tensorrt": "10.14.1.48", "nvidia_modelopt": "0.37.0"}


def make_tools(root: Path, python: str = sys.executable) -> Path:
    """Returns the folder for PATH, the one that holds `trtllm-build`."""
    commands = root / "opt" / "venv-tritonserver" / "bin"
    examples = root / "app" / "examples"
    _script(commands / "trtllm-build", "trtllm_build.py", python)
    _script(examples / "quantization" / "quantize.py", "quantize.py", python)
    families = examples / "models" / "core"
    for family in FAMILIES:
        _script(families / family / "convert_checkpoint.py", "convert_checkpoint.py", python, family)
    for name, version in PACKAGES.items():
        folder = commands.parent / "lib" / "python3.12" / "site-packages" / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        title = name.replace("_", "-")
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {title}\nVersion: {version}\n")
    return commands


def _script(path: Path, name: str, python: str, family: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    start = f"import importlib, sys; sys.path.insert(0, {str(HERE)!r}); tool = importlib.import_module({name[:-3]!r})"
    guard = f"if __name__ == '__main__':\n    {start}\n    tool.main({repr(family) if family else ''})\n"
    path.write_text(f"#!{python}\n{guard}")
    path.chmod(0o755)
