"""Runs on machines with NVIDIA GPUs only (`make test-gpu`); nvidia-smi is the witness."""

from __future__ import annotations

import shutil
import subprocess
from xml.etree import ElementTree as Xml

import pytest

from stoker.probe.machine import Machine
from stoker.probe.probe import probe_machine


@pytest.fixture(scope="session")
def machine() -> Machine:
    machine = probe_machine(environ={})
    if not machine.gpus:
        pytest.skip(f"no NVIDIA GPU here: {'; '.join(machine.notes)}")
    return machine


@pytest.fixture(scope="session")
def smi() -> list[Xml.Element]:
    """One element a GPU, in nvidia-smi's order."""
    if shutil.which("nvidia-smi") is None:
        pytest.skip("nvidia-smi is not here")
    answer = subprocess.run(["nvidia-smi", "-q", "-x"], capture_output=True, check=True)
    return Xml.fromstring(answer.stdout).findall("gpu")
